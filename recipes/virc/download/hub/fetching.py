"""Fetches files of a repository into a folder: each whole and verified or not at all; archives are unpacked there.

Every step is recorded on the disk before the next begins, so a download that is killed anywhere loses nothing and
fetches nothing twice: fetched, recorded, unpacked, recorded, removed.
"""

import os
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import msgspec

from virc.core.errors import DataError, SetupError
from virc.core.work.threads import started
from virc.download.hub.file import fetch_file
from virc.download.hub.folder import Folder
from virc.download.hub.meter import Meter
from virc.download.hub.record import is_archive
from virc.download.hub.repository import FULL, File, Listing
from virc.unpack.archive.formats import ArchiveError
from virc.unpack.archive.parts import all_parts, is_shard
from virc.unpack.unpack import Joined, UnpackConfig, pour

AT_ONCE = 8
"""Files that are fetched at a time."""
LAST = ("config.json", "dataset_info.json")
"""Files that make a folder a model or a dataset: they come when all others are there."""

_LEAVE_SECONDS = 0.5


def ordered(files: Sequence[File], listing: Listing) -> tuple[File, ...]:
    """The files in the order they are fetched: archives after others, and `LAST` at the end."""
    kind = listing.repo.kind
    return tuple(sorted(files, key=lambda file: (_is_last(file), is_archive(file.name, kind))))


def _is_last(file: File) -> bool:
    return file.name.rpartition("/")[2] in LAST


def fetch(
    root: Path,
    listing: Listing,
    files: Sequence[File],
    meter: Meter,
    keep: bool = False,
    packed: bool = False,
    asked: str = "",
) -> None:
    """Fetch files into a folder that no other download works on; those that are there stay as they are.

    Args:
        keep: keep archives after they are unpacked.
        packed: leave archives packed.
        asked: the request that the files answer, as text; it is recorded.
    """
    folder, wanted = Folder(root, listing), {file.name: file for file in files}
    names = {*wanted, *(file.name for file in listing.files)}
    parts_of = all_parts(name for name in names if is_archive(name, listing.repo.kind))
    try:
        with folder.alone():
            folder.expect(tuple(files))
            lacking = [file for file in ordered(files, listing) if _is_lacking(folder, file, meter)]
            _fetch_files(folder, [file for file in lacking if not _is_last(file)], meter)
            for file in files:
                if file.name in parts_of and folder.state(file) != "whole":
                    names_of_parts = parts_of[file.name]
                    all_wanted = wanted.keys() >= {*names_of_parts}
                    parts = [wanted[name] for name in names_of_parts] if all_wanted else []
                    _unpack_if_complete(folder, file, parts, meter, keep, packed)
            _fetch_files(folder, [file for file in lacking if _is_last(file)], meter)
            folder.finish(asked)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SetupError(f"the disk of {root} is full", "make room, then run the same command to resume") from error


def _is_lacking(folder: Folder, file: File, meter: Meter) -> bool:
    """Whether a file is not there, or an older one; one that nothing is known of is hashed."""
    state = folder.state(file)
    if state != "unsure":
        return state in ("old", "absent")
    # a download that was killed had just finished it, or it is somebody's own
    same = folder.is_same(file, meter.begin("checking", file))
    meter.end("checking", file)
    if same:
        folder.came(file)
    return not same


def _fetch_files(folder: Folder, files: Sequence[File], meter: Meter) -> None:
    """Fetch files, several at a time: there may be thousands, and each mostly waits for the server."""

    def get(file: File, stopping: threading.Event) -> None:
        on_bytes = meter.begin("fetching", file)
        listing = folder.listing
        fetch_file(listing.repo, listing.commit, file, folder.path(file), folder.parts, on_bytes, stopping)

    for file in _together(get, files):
        folder.came(file)
        meter.end("fetching", file)


def _unpack_if_complete(
    folder: Folder, file: File, parts: Sequence[File], meter: Meter, keep: bool, packed: bool
) -> None:
    """Unpack an archive when all its parts are there, unless it is to stay packed.

    Args:
        parts: of the archive that `file` is a part of; none where not all of them are wanted.
    """
    is_dataset_shard = bool(parts) and not packed and is_shard(folder.path(parts[0]))
    if packed or is_dataset_shard or not parts:
        folder.came(file, unpacked=True, keep=True)
        if is_dataset_shard:
            meter.warn("shards of WebDataset stay packed")
        elif not packed:
            meter.warn(f"{file.name} stays packed: it is one part of more")
    elif all(folder.state(part) == "packed" for part in reversed(parts)):  # the last part mostly comes last
        _unpack(folder, parts, meter, keep)


def _unpack(folder: Folder, parts: Sequence[File], meter: Meter, keep: bool) -> None:
    file = msgspec.structs.replace(parts[0], size=sum(part.size for part in parts))
    path = folder.path(file)
    on_bytes, reported = meter.begin("unpacking", file), 0

    def progress(done: int, size: int) -> None:
        nonlocal reported
        on_bytes(done - reported)
        reported = done

    try:
        with ExitStack() as stack:
            source = Joined([stack.enter_context(folder.path(part).open("rb", buffering=0)) for part in parts])
            unpacked, is_whole = pour(source, source.size, UnpackConfig(path, path.parent), progress)
    except ArchiveError as error:
        # Its hash is right: fetching it again would change nothing.
        hint = "it is as the hub lists it: tell its owner; «--keep-packed» leaves it packed"
        raise DataError(error.message, hint) from None
    other = f"virc unpack {shlex.quote(Path(file.name).name)} --encoding gbk, or another"
    for guess in unpacked.guessed:
        meter.warn(f"{file.name}: {guess}; where that is wrong: virc download --keep-packed, then {other}")
    for warning in unpacked.warnings:
        meter.warn(f"{file.name}: {warning}")
    with suppress(AttributeError):  # not on Windows
        os.sync()  # all that is unpacked would survive a loss of power
    folder.came(*parts, unpacked=True, keep=keep or not is_whole)  # what follows the last file may be wanted
    folder.clear_spent()
    meter.end("unpacking", file)


def _together(work: Callable[[File, threading.Event], None], files: Sequence[File]) -> Iterator[File]:
    """Yield each file when `work` has done it; the first error ends all, and so does leaving the iteration.

    Then the event that `work` gets is set. Threads that still wait for the network half a second later are abandoned.
    """
    left, stopping = iter(files), threading.Event()
    done: SimpleQueue[File | Future[None]] = SimpleQueue()

    def work_on() -> None:  # a thread for each of many small files would cost as much as its request
        for file in left:
            work(file, stopping)
            if stopping.is_set():
                return
            done.put(file)

    running = {started(work_on) for _ in range(min(AT_ONCE, len(files)))}
    try:
        for each in running:
            each.add_done_callback(done.put)
        ended = 0
        while ended < len(running):
            finished = done.get()
            if isinstance(finished, File):
                yield finished
            else:
                finished.result()
                ended += 1
    finally:
        stopping.set()
        wait(running, _LEAVE_SECONDS)
