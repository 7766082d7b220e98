"""Fetches files of a repository into a folder: each whole and verified or not at all; archives are unpacked there.

Every step is recorded on the disk before the next begins, so a download that is killed anywhere loses nothing and
fetches nothing twice: fetched, recorded, unpacked, recorded, removed. `fetch` is the main path; for each file it calls
`_fetch_file`, and for the last part of an archive `_unpack_if_complete`.
"""

import filecmp
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

from virc.core.errors import DataError, SetupError
from virc.core.files import HIDDEN, IN_THE_WAY
from virc.core.limits.threads import started
from virc.core.text import plain
from virc.download.hub.folder import Folder
from virc.download.hub.ranged import fetch_large
from virc.download.hub.record import is_archive
from virc.download.hub.repository import FULL, File, Listing, OnBytes
from virc.download.hub.small import Stream, fetch_small
from virc.unpack.archive.formats import ArchiveError
from virc.unpack.archive.parts import all_parts, is_shard, is_streamed, split_zip
from virc.unpack.unpack import Joined, UnpackConfig, Unpacked, pour

LARGE = 16 * 2**20
"""Bytes from which on a file comes in parts that are kept."""
AT_ONCE = 8
"""Small files that are fetched at a time."""
LAST = ("config.json", "dataset_info.json")
"""Files that make a folder a model or a dataset: they come when all others are there."""

_LEAVE_SECONDS = 0.5
_Item = TypeVar("_Item")
Doing = Literal["fetching", "checking", "unpacking"]


class Watch(Protocol):
    """Receives how far the work is."""

    def begin(self, doing: Doing, file: File) -> OnBytes:
        """Work on a file begins, perhaps besides others; call the function returned with each number of bytes done."""

    def end(self, doing: Doing, file: File) -> None:
        """The work on the file is done."""

    def warn(self, text: str) -> None:
        """Something of an archive is not as it should be."""


def ordered(files: Sequence[File], listing: Listing) -> tuple[File, ...]:
    """The files in the order they are fetched: archives after others, and `LAST` at the end."""
    kind = listing.repo.kind
    return tuple(sorted(files, key=lambda file: (Path(file.name).name in LAST, is_archive(file.name, kind))))


def fetch(
    root: Path,
    listing: Listing,
    files: Sequence[File],
    watch: Watch,
    keep: bool = False,
    stream: bool = False,
    packed: bool = False,
    asked: str = "",
) -> None:
    """Fetch files into a folder that no other download works on; those that are there stay as they are.

    Args:
        keep: keep archives after they are unpacked.
        stream: unpack archives while they come, without a file on the disk; after an interruption they start again.
        packed: leave archives packed.
        asked: the request that the files answer, as text; it is recorded.
    """
    folder, wanted = Folder(root, listing), {file.name: file for file in files}
    names = {*wanted, *(file.name for file in listing.files)}
    parts_of = all_parts(name for name in names if is_archive(name, listing.repo.kind))
    try:
        with folder.alone():
            folder.expect(tuple(files))
            _fetch_small_files(folder, files, watch)
            for file in ordered(files, listing):
                _fetch_file(folder, file, watch, stream and not packed)
                if file.name in parts_of and folder.state(file) != "whole":
                    names_of_parts = parts_of[file.name]
                    all_wanted = wanted.keys() >= {*names_of_parts}
                    parts = [wanted[name] for name in names_of_parts] if all_wanted else []
                    _unpack_if_complete(folder, file, parts, watch, keep, packed)
            folder.finish(asked)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SetupError(f"the disk of {root} is full", "make room, then run the same command to resume") from error


def _fetch_file(folder: Folder, file: File, watch: Watch, stream: bool) -> None:
    """Fetch a file that is not there yet, or an older one; `stream`: unpack an archive while it comes."""
    archive = is_archive(file.name, folder.listing.repo.kind)
    streams = stream and is_streamed(file.name)
    state = folder.state(file)
    if state == "unsure":  # a download that was killed had just finished it, or it is somebody's own
        same = folder.is_same(file, watch.begin("checking", file))
        watch.end("checking", file)
        if same:
            folder.came(file)
        state = "packed" if same else "old"
    if state in ("old", "absent") and archive and (streams or folder.verified(file).is_dir()):
        _stream(folder, file, watch)
        return
    if state in ("old", "absent"):
        to, on_bytes = _made_place(folder, file), watch.begin("fetching", file)
        get = fetch_large if file.size >= LARGE else fetch_small
        get(folder.listing.repo, folder.listing.commit, file, to, folder.parts, on_bytes)
        watch.end("fetching", file)
        folder.came(file)


def _unpack_if_complete(
    folder: Folder, file: File, parts: Sequence[File], watch: Watch, keep: bool, packed: bool
) -> None:
    """Unpack an archive when all its parts are there, unless it is to stay packed.

    Args:
        parts: of the archive that `file` is a part of; none where not all of them are wanted.
    """
    is_dataset_shard = bool(parts) and not packed and is_shard(folder.path(parts[0]))
    if packed or is_dataset_shard or not parts or split_zip(folder.path(file)):
        folder.came(file, unpacked=True, keep=True)
        if is_dataset_shard:
            watch.warn("shards of WebDataset stay packed")
        elif not packed:
            watch.warn(f"{file.name} stays packed: it is one part of more")
    elif all(folder.state(part) == "packed" for part in reversed(parts)):  # the last part mostly comes last
        _unpack(folder, parts, watch, keep)


def _fetch_small_files(folder: Folder, files: Sequence[File], watch: Watch) -> None:
    """Fetch the small files, several at a time: there may be thousands, and each mostly waits for the server."""
    listing = folder.listing
    lacking = [
        file
        for file in files
        if file.size < LARGE
        and not (Path(file.name).name in LAST or is_archive(file.name, listing.repo.kind))
        and folder.state(file) in ("old", "absent")
    ]

    def get(file: File) -> None:
        on_bytes = watch.begin("fetching", file)
        fetch_small(listing.repo, listing.commit, file, _made_place(folder, file), folder.parts, on_bytes)

    for file in together(get, lacking, AT_ONCE):
        folder.came(file)
        watch.end("fetching", file)


def _made_place(folder: Folder, file: File) -> Path:
    to = folder.path(file)
    to.parent.mkdir(parents=True, exist_ok=True)
    folder.parts.mkdir(exist_ok=True)
    return to


def _unpack(folder: Folder, parts: Sequence[File], watch: Watch, keep: bool) -> None:
    file = msgspec.structs.replace(parts[0], size=sum(part.size for part in parts))
    path = folder.path(file)
    on_bytes, reported = watch.begin("unpacking", file), 0

    def progress(done: int, size: int) -> None:
        nonlocal reported
        on_bytes(done - reported)
        reported = done

    try:
        with ExitStack() as stack:
            source = Joined([stack.enter_context(folder.path(part).open("rb")) for part in parts])
            unpacked, is_whole = pour(source, source.size, UnpackConfig(path, path.parent), progress)
    except ArchiveError as error:
        raise _fault_of_archive(error) from None
    _warn(watch, file, unpacked)
    _sync_disk()
    folder.came(*parts, unpacked=True, keep=keep or not is_whole)  # what follows the last file may be wanted
    folder.clear_spent()
    watch.end("unpacking", file)


def _stream(folder: Folder, file: File, watch: Watch) -> None:
    """Unpack an archive from the network into a hidden folder; move the content into place when its hash is right."""
    staged = folder.root / HIDDEN / "stream"
    verified = folder.verified(file)
    if not verified.is_dir():
        shutil.rmtree(staged, ignore_errors=True)
        _pour_from_hub(folder, file, watch, staged)
        _sync_disk()
        staged.rename(verified)
    move_in(verified, _made_place(folder, file).parent)
    _sync_disk()
    folder.came(file, unpacked=True)
    shutil.rmtree(verified)  # last: while it is there, the archive is not fetched again
    watch.end("unpacking", file)


def _pour_from_hub(folder: Folder, file: File, watch: Watch, staged: Path) -> None:
    on_bytes = watch.begin("fetching", file)
    listing = folder.listing
    with Stream(listing.repo, listing.commit, file, on_bytes) as source:
        try:
            unpacked, _ = pour(source, file.size, UnpackConfig(Path(file.name), staged), stop=source.stop)
        except DataError as error:
            source.verify()  # raises if the hash is wrong too: then the transfer was at fault, not the archive
            if isinstance(error, ArchiveError):
                raise _fault_of_archive(error) from None
            raise
        source.verify()
    _warn(watch, file, unpacked)


def _warn(watch: Watch, file: File, unpacked: Unpacked) -> None:
    for warning in unpacked.guessed:
        other = f"virc unpack {shlex.quote(Path(file.name).name)} --encoding gbk, or another"
        watch.warn(f"{file.name}: {warning}; where that is wrong: virc download --keep-packed, then {other}")
    for warning in unpacked.warnings:
        watch.warn(f"{file.name}: {warning}")


def _fault_of_archive(error: ArchiveError) -> DataError:
    """The error for an archive whose hash is right: fetching it again would change nothing."""
    return DataError(error.message, "it is as the hub lists it: tell its owner; --keep-packed leaves it packed")


def _sync_disk() -> None:
    """Wait until everything written so far would survive a loss of power."""
    with suppress(AttributeError):  # not on Windows
        os.sync()


def move_in(staged: Path, root: Path) -> None:
    """Move the content of one folder into another on the same disk; a second call continues after an interruption.

    Files that the target already has stay in the first folder, and so do folders that both have. Nothing is replaced.
    """
    for path, folders, files in os.walk(staged):
        source, target = Path(path), root / Path(path).relative_to(staged)
        links = [name for name in folders if (source / name).is_symlink()]
        for name in [*files, *links]:
            _move(source / name, target / name)
        real_folders = [name for name in folders if name not in links]
        # `os.walk` enters what is left in `folders`: those that both sides have. The others move as a whole.
        folders[:] = [name for name in real_folders if (target / name).is_dir() and not (target / name).is_symlink()]
        for name in real_folders:
            if name not in folders:
                _move(source / name, target / name)


def _move(source: Path, target: Path) -> None:
    if not os.path.lexists(target):
        source.rename(target)
    elif not _is_same(source, target):
        raise DataError(f"something else is there: {target.parent / plain(target.name)}", IN_THE_WAY)


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def together(work: Callable[[_Item], None], items: Iterable[_Item], threads: int) -> Iterator[_Item]:
    """Yield each item when `work` has done it; the first error ends all, and so does leaving the iteration.

    Threads that still wait for the network half a second after that are abandoned: they cannot be woken.
    """
    left = iter(items)
    running = {started(partial(work, item)): item for item in islice(left, threads)}
    try:
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(done)
                done.result()
                running |= {started(partial(work, following)): following for following in islice(left, 1)}
                yield item
    finally:
        wait(running, _LEAVE_SECONDS)
