"""Unpack an archive that nobody vouches for, in a run that may be killed at any moment.

A rerun reads the archive again from its beginning (its checksums allow no other way), compares what is there with
it and writes what is missing.
"""

import errno
import io
import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate, pairwise
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any, cast

from virc.core.errors import DataError, UsageError
from virc.core.files import expanded, is_file, is_folder
from virc.core.text import clause, sized
from virc.unpack.archive import zipped
from virc.unpack.archive.folder import MORE_ROOM, opened
from virc.unpack.archive.formats import ENOUGH, Readable, chunks, stated
from virc.unpack.archive.members import Kind, members
from virc.unpack.archive.names import Names
from virc.unpack.archive.parts import part_of, split_zip, volumes
from virc.unpack.archive.stream import Stream, ahead

STANDARD_INPUT = Path("-")
_PART = re.compile(r"(?s)(.*part[-_.]?)(?:[0-9]+|[a-z]{2,3})")
Progress = Callable[[int, int], None]
"""Called with the bytes of the archive that are done, and all of them."""


@dataclass(frozen=True)
class UnpackConfig:
    """What to unpack, where, and how much of it at most.

    Args:
        archive: a tar archive, plain or in LZ4 or gzip, or a zip; its name says nothing; `-`: the standard input.
        more: further parts of a split archive; all parts are read in the order of their names.
        to: folder; None: the one the archive is in; of the standard input, the working folder.
        remove: delete the archive, with all its parts, when all is unpacked and safe on the disk.
        max_ratio: of the content to the archive, in bytes, at most.
        max_bytes: most bytes that are written; None: what the disk has.
        max_files: most files, folders and links.
        encoding: of names; None: UTF-8, or what they seem to be in.
    """

    archive: Path
    to: Path | None = None
    remove: bool = False
    max_ratio: float = 100
    max_bytes: int | None = None
    max_files: int = 2_000_000
    more: tuple[Path, ...] = ()
    encoding: str | None = None

    @property
    def parts(self) -> list[Path]:
        """The files that it is read from: `part10` after `part9`. None: the standard input is."""
        if parts := volumes(expanded(self.archive)):
            return parts
        if self.more:
            return sorted(map(expanded, (self.archive, *self.more)), key=lambda part: _numbered(part.name))
        return [] if self.archive == STANDARD_INPUT else [expanded(self.archive)]

    @property
    def folder(self) -> Path:
        return expanded(self.to if self.to else self.archive.parent)


@dataclass
class Unpacked:
    """What a run did.

    Args:
        files, bytes: how many files and links were written, and their size.
        skipped: files and links that were there already.
        removed: the archive was deleted.
        kept: why the archive was not deleted although `remove` was set.
        guessed: warnings: how names that are not in UTF-8 were read.
        warnings: names that would go wrong on other systems, and content that was not unpacked.
    """

    to: Path
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    removed: bool = False
    kept: str | None = None
    guessed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def unpack(config: UnpackConfig, progress: Progress = lambda done, size: None) -> Unpacked:
    """Unpack an archive, whole or up to its first fault.

    Raises:
        DataError: there is no such archive, it is damaged or cut off, or a member is refused. Files that are
            complete stay, the archive too.
        ConfigError: another run unpacks into the folder.
        OSError: the disk refuses.
    """
    parts = config.parts
    _check_parts(parts)
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("rb", buffering=0)) for part in parts]
        joined = Joined(files)
        if files:
            _check_room(joined.read(BLOCKSIZE), joined.size, config)
            joined.seek(0)
        source: Readable = joined if files else cast(Readable, sys.stdin.buffer)
        done, is_whole = pour(source, joined.size if files else None, config, progress)
        if config.remove:
            if parts and hasattr(os, "sync"):
                os.sync()  # which takes its time: what has the archive's name is looked at after it
            reasons = (_why_kept(part, file, is_whole, done) for part, file in zip(parts, files, strict=True))
            done.kept = next(filter(None, reasons), None) if parts else "it came from the standard input"
            done.kept = done.kept or _remove(parts)
            done.removed = done.kept is None
    return done


def _check_parts(parts: Sequence[Path]) -> None:
    """Check that there are files, and that several are the parts of one archive."""
    for part in parts:
        if not is_file(part):
            raise DataError(f"there is no archive {part}", "virc unpack ARCHIVE, as it came from the hub")
    if parts and split_zip(parts[0]):
        return
    if len(parts) == 1 and len(others := parts_beside(parts[0])) > 1:
        raise DataError(f"{parts[0]} is one of {len(others)} parts of an archive", unpacking(parts[0]))
    for before, after in pairwise(parts):
        (stem, number, tail), (next_stem, next_number, next_tail) = _numbered(before.name), _numbered(after.name)
        if stem != next_stem or number == next_number:
            what = f"{before.name} and {after.name} are not two parts of one archive"
            raise UsageError(what, "virc unpack takes one archive, or all parts of one: images.tar.part*")
        if len(tail) == len(next_tail) and next_number != number + 1:  # out of names, `split` skips to longer ones
            raise DataError(f"between {before.name} and {after.name} a part is missing", "give all parts")


def parts_beside(part: Path) -> list[Path]:
    """All parts in its folder of the archive that a file is a part of; none if the file is no part."""
    affixes = _affixes(part.name)
    return [each for each in part.parent.iterdir() if _affixes(each.name) == affixes] if affixes else []


def unpacking(archive: Path) -> str:
    """The command that unpacks an archive, with all parts that lie next to it."""
    affixes = _affixes(archive.name)
    if not affixes or len(parts_beside(archive)) < 2:
        return f"virc unpack {shlex.quote(str(archive))}"
    prefix, suffix = affixes
    quoted_prefix = shlex.quote(str(archive.with_name(prefix)))
    return f"virc unpack {quoted_prefix}*{shlex.quote(suffix) if suffix else ''}"


def _affixes(name: str) -> tuple[str, str] | None:
    """What is before and after the number in the name of a part; None for a name of no part."""
    if part := part_of(name):
        return part.before, part.behind
    match = _PART.fullmatch(name)
    return (match[1], "") if match else None


def _numbered(name: str) -> tuple[str, int, str]:
    """The name of a part without its number, the number, and its digits or, as `split` writes it, letters.

    The last is empty if the number is not at the end of the name.
    """
    if (part := part_of(name)) and part.behind:
        return part.before + part.behind, part.number, ""
    match = re.fullmatch(r"(?s)(.*?)([0-9]+|[a-z]*)", name)
    assert match
    stem, tail = match.groups()
    if tail.isdecimal():
        return stem, int(tail), tail
    return stem, reduce(lambda number, letter: 26 * number + ord(letter) - ord("a"), tail, 0), tail


def pour(
    source: Readable, size: int | None, config: UnpackConfig, progress: Progress = lambda done, size: None
) -> tuple[Unpacked, bool]:
    """Unpack an archive as it comes; nothing is removed. Errors are those of `unpack`.

    Args:
        source: the archive, at its beginning; it is read in order.
        size: bytes of the archive; None where nobody knows.

    Returns:
        What was done, and whether nothing but zeros follows the last file.
    """
    bytes(16 * ENOUGH)  # glibc keeps freed memory for use again, up to twice the largest block that was freed
    done, names = Unpacked(config.folder), Names(config.encoding)
    archive = zipped.opened(source) if zipped.is_zip(source) else None
    found = zipped.chunks(archive) if archive else chunks(source, expanded(config.archive))
    with opened(done.to, config.max_bytes, config.max_files) as folder, ahead(found) as coming:
        stream = Stream(coming, size, config.max_ratio, lambda at: progress(at, size or at))
        for member in zipped.members(archive, names) if archive else members(stream, names):
            is_new = folder.put(member, stream)
            if member.kind is Kind.folder or is_new is None:
                continue
            if is_new:
                done.files += 1
                done.bytes += member.size
            else:
                done.skipped += 1
        where = stream.where()
        is_whole = stream.is_blank_to_its_end()
        folder.end()
        done.guessed, done.warnings = names.warnings, [*folder.warnings]
        if not is_whole:
            done.warnings.append(f"what stands {where} is no tar archive, and was not unpacked")
        return done, is_whole


def _check_room(head: bytes, size: int, config: UnpackConfig) -> None:
    """Refuse an archive that is known not to fit the disk, unless its folder has files, which may be of it."""
    needed, to = stated(head, size), config.folder
    existing = next(folder for folder in (to, *to.absolute().parents) if is_folder(folder))
    archive_names = {part.name for part in config.parts}
    has_files = existing == to and any(each.name not in archive_names for each in to.iterdir())
    room = shutil.disk_usage(existing).free
    if needed is not None and needed > room and not has_files:
        raise DataError(f"{config.archive} unpacks to {sized(needed)}, and there is room for {sized(room)}", MORE_ROOM)


def _why_kept(archive: Path, file: io.FileIO, is_whole: bool, done: Unpacked) -> str | None:
    """Why the archive is not removed, which takes certainty about everything below; None: it may be removed."""
    if not os.path.lexists(archive):
        return None  # another run unpacked it too, and removed it
    opened_file, at_path = os.fstat(file.fileno()), os.lstat(archive)
    reasons = {
        "more than zeros follow its last file": not is_whole,
        "there is no file in it": not done.files + done.skipped,
        "it is a link to another place": stat.S_ISLNK(at_path.st_mode),
        "another file has its name now": not os.path.samestat(opened_file, at_path),
        "this system does not say when files are safe on the disk": not hasattr(os, "sync"),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _remove(parts: Sequence[Path]) -> str | None:
    """Delete the archive, whose content is safe on the disk. Returns why that failed, if it did."""
    try:
        for part in parts:
            part.unlink(missing_ok=True)
    except OSError as error:
        return clause(error)
    return None


class Joined(io.RawIOBase):
    """The files of an archive's parts, read as one file."""

    def __init__(self, files: Sequence[io.FileIO]) -> None:
        self._files, self._at = files, 0
        sizes = [os.fstat(file.fileno()).st_size for file in files]
        self._ends, self.size = list(accumulate(sizes)), sum(sizes)
        self.starts = [0, *self._ends[:-1]]

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        to = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if to < 0:  # zipfile asks for what precedes the directory of an empty archive
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = to
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, began = memoryview(buffer), self._at
        for file, ends in zip(self._files, self._ends, strict=True):
            if self._at < ends and view:
                file.seek(self._at - ends, os.SEEK_END)
                count = file.readinto(view[: ends - self._at])
                self._at += count
                view = view[count:]
        return self._at - began
