"""Unpack an archive that nobody vouches for, in a run that may be killed at any moment.

A rerun reads the archive again from its beginning (its checksums allow no other way), compares what is there with
it and writes what is missing.
"""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import BinaryIO

from virc.core.errors import DataError
from virc.core.files import expanded, is_file, is_folder
from virc.core.text import clause, sized
from virc.unpack.archive.folder import MORE_ROOM, opened
from virc.unpack.archive.formats import Readable, chunks, stated
from virc.unpack.archive.members import Kind, members
from virc.unpack.archive.stream import Stream, ahead

Progress = Callable[[int, int], None]
"""Called with the bytes of the archive that are done, and all of them."""


@dataclass(frozen=True)
class UnpackConfig:
    """What to unpack, where, and how much of it at most.

    Args:
        archive: a tar archive, plain or in LZ4 or gzip, whatever its name.
        to: folder; None: the one the archive is in.
        remove: delete the archive when all is unpacked and safe on the disk.
        max_ratio: content is at most so many times as large as the archive.
        max_bytes: most bytes that are written; None: what the disk has.
        max_files: most files, folders and links.
    """

    archive: Path
    to: Path | None = None
    remove: bool = False
    max_ratio: float = 100
    max_bytes: int | None = None
    max_files: int = 2_000_000


@dataclass
class Unpacked:
    """What a run did.

    Args:
        to: the folder.
        files: files and links written.
        bytes: their size.
        skipped: files and links that were there already.
        removed: the archive was deleted.
        kept: why it was not, although `remove` was set.
        warnings: what of its names would go wrong on other systems.
    """

    to: Path
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    removed: bool = False
    kept: str | None = None
    warnings: list[str] = field(default_factory=list)


def unpack(config: UnpackConfig, progress: Progress = lambda done, size: None) -> Unpacked:
    """Unpack an archive, whole or up to its first fault.

    Raises:
        DataError: there is no such archive, it is damaged or cut off, or a member is refused. Files that are
            complete stay, the archive too.
        ConfigError: another run unpacks into the folder.
        OSError: the disk refuses.
    """
    archive = expanded(config.archive)
    if not is_file(archive):
        raise DataError(f"there is no archive {archive}", "virc unpack ARCHIVE, as it came from the hub")
    with archive.open("rb") as file:
        _check_room(file, config)
        done, is_whole = pour(file, os.fstat(file.fileno()).st_size, config, progress)
        if config.remove:
            done.kept = _why_kept(archive, file, is_whole, done) or _removed(archive)
            done.removed = done.kept is None
    return done


def pour(
    source: Readable,
    size: int,
    config: UnpackConfig,
    progress: Progress = lambda done, size: None,
    stop: Callable[[], None] = lambda: None,
) -> tuple[Unpacked, bool]:
    """Unpack an archive as it comes; nothing is removed.

    Args:
        source: the archive, at its beginning; it is read in order, but for its first bytes, which are read twice.
        size: bytes of the archive.
        stop: ends a read of the source that waits; called where this is left before the end, but for a bad archive.

    Returns:
        What was done, and whether nothing but zeros follows the last file.

    Raises:
        DataError, ConfigError, OSError: as `unpack`.
    """
    archive = expanded(config.archive)
    done = Unpacked(expanded(config.to) if config.to else archive.parent)
    found = chunks(source, archive)
    with opened(done.to, config.max_bytes, config.max_files) as folder, ahead(found) as coming:
        stream = Stream(coming, size, config.max_ratio, lambda at: progress(at, size))
        try:
            for member in members(stream):
                is_new = folder.put(member, stream)
                if member.kind is not Kind.folder:
                    done.files += is_new
                    done.bytes += member.size * is_new
                    done.skipped += not is_new
            is_whole = stream.is_blank_to_its_end()
            folder.end()
            done.warnings = folder.warnings
            return done, is_whole
        except DataError:
            raise
        except BaseException:
            stop()
            raise


def _check_room(file: BinaryIO, config: UnpackConfig) -> None:
    """Refuse an archive that the disk has no room for, where that is known; in a folder with files some may be there.

    Raises:
        DataError: it unpacks to more bytes than the disk has.
    """
    needed = stated(file.read(BLOCKSIZE), os.fstat(file.fileno()).st_size)
    file.seek(0)
    to = expanded(config.to) if config.to else expanded(config.archive).parent
    there = next(folder for folder in (to, *to.absolute().parents) if is_folder(folder))
    begun = there == to and any(each.name != expanded(config.archive).name for each in to.iterdir())
    room = shutil.disk_usage(there).free
    if needed is not None and needed > room and not begun:
        raise DataError(f"{config.archive} unpacks to {sized(needed)}, and there is room for {sized(room)}", MORE_ROOM)


def _why_kept(archive: Path, file: BinaryIO, is_whole: bool, done: Unpacked) -> str | None:
    """Why the archive stays, if it does: where anything is doubtful, it does."""
    if not os.path.lexists(archive):
        return None  # another run unpacked it too, and removed it
    opened_one, there = os.fstat(file.fileno()), os.lstat(archive)
    reasons = {
        "more than zeros follow its last file": not is_whole,
        "there is no file in it": not done.files + done.skipped,
        "it is a link to another place": stat.S_ISLNK(there.st_mode),
        "another file has its name now": not os.path.samestat(opened_one, there),
        "this system does not say when files are safe on the disk": not hasattr(os, "sync"),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _removed(archive: Path) -> str | None:
    """Remove the archive when its files would survive a loss of power; why not, if it cannot be."""
    os.sync()
    try:
        archive.unlink(missing_ok=True)
    except OSError as error:
        return clause(error)
    return None
