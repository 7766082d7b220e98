"""A large file: parts by several connections, noted as they come; a kill loses what came in the last second.

On a fast line that second is no more than one request of each connection.
"""

import hashlib
import os
import queue
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

import msgspec

from virc.core.errors import SetupError
from virc.core.text import plain
from virc.download.hub.folder import hasher
from virc.download.hub.link import ChangedError, Link, NoRangesError, Reader, StoppedError, wrong
from virc.download.hub.record import mark_of, sync
from virc.download.hub.repository import FULL, File, OnBytes, Repo

PART = 1 << 20
"""Bytes of a part, the last one aside."""
ASKED = 32
"""Most parts that one request asks for; all of them are noted at its end, and on the way each second."""
CONNECTIONS = 4
_NOTE_SECONDS = 1.0
_PIECE = 1 << 20
# Bytes at a time: for more, Linux seeks memory in one piece, measured at up to ten times the time.
_WRITTEN = 1 << 18
_LEAVE_SECONDS = 0.5


class WrittenPart(msgspec.Struct, frozen=True):
    """A part of a file as it was written.

    Attributes:
        crc32: its checksum, against what a disk does to it; no proof of where it came from.
        etag: what the server called the file it came from.
    """

    begins: int
    size: int
    crc32: int
    etag: str | None = None


def append_parts(path: Path, parts: Iterable[WrittenPart]) -> None:
    """Add parts whose bytes are safe on the disk; on return the lines are so too."""
    # Each on lines of its own: what a kill tore stays by itself.
    lines = b"".join(b"\n%s\n" % msgspec.json.encode(part) for part in parts)
    with path.open("ab") as file:  # buffered: else a full disk may take a part of it, and raise nothing
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def noted_parts(path: Path) -> list[WrittenPart]:
    """The parts noted, in the order of the notes; lines that a kill tore are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError):  # ValueError: msgspec's, and bytes of no UTF-8
            found.append(msgspec.json.decode(line, type=WrittenPart))
    return found


def fetch_large(
    repo: Repo,
    commit: str,
    file: File,
    to: Path,
    work: Path,
    on_bytes: OnBytes = lambda _: None,
    part: int | None = None,
    connections: int = CONNECTIONS,
) -> None:
    """Fetch a file, whole and with the right hash, or leave what is needed to go on.

    Memory is bounded, whatever the size. One run at a time may use `work`.

    Args:
        file: as the hub lists it. Without a hash only its size is checked.
        to: its place, on the same disk as `work`; what is there is replaced.
        work: folder for the parts and their journal; nothing of the file stays there when it is done.
        on_bytes: called with bytes that come, without those `kept` from an earlier run; one call at a time.
        part: bytes of a part; None: PART. With another size than before all of it is fetched again.
    """
    parts = _Parts(work, file, part)
    try:
        work.mkdir(parents=True, exist_ok=True)
        _complete(repo, commit, parts, on_bytes, connections)
        to.parent.mkdir(parents=True, exist_ok=True)
        parts.data.replace(to)  # nothing is copied, however large; the journal alone is of no use
        sync(to.parent)  # else a loss of power might leave the old name and no journal
        parts.journal.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in FULL:
            raise
        sentence = f"the disk is full before {plain(file.name, 100)} is whole"
        raise SetupError(sentence, "make room, then run the same command to resume") from None


def bytes_on_disk(work: Path, file: File, part: int | None = None) -> int:
    """Bytes of a file that an earlier run left in `work`, for the arguments of `fetch_large`."""
    return _Parts(work, file, part).bytes_noted()


def _complete(repo: Repo, commit: str, parts: "_Parts", on_bytes: OnBytes, connections: int) -> None:
    file = parts.file
    count = _Count(on_bytes, parts.bytes_noted())
    in_one = was_changed = False
    while True:
        count.settle(parts.bytes_noted())
        had = count.there
        # Days later the hub may store the same content elsewhere: its hash says so, another ETag says nothing.
        etag = None if file.sha256 or file.git else parts.etag()
        try:
            found = _Attempt(Link(repo, commit, file, etag), parts, count, connections, in_one).digest()
        except NoRangesError:
            in_one = True
            continue
        except ChangedError:
            parts.drop()
            if was_changed:
                raise
            was_changed = True
            continue
        if (file.sha256 or file.git) in (None, found):
            return
        parts.drop()
        if not had:  # else an earlier run may have brought what is wrong
            raise wrong(file, found)


class _Parts:
    """The parts of a file on the disk, and their journal.

    Names are made of the content's hash: another commit with the same content goes on with them.
    """

    def __init__(self, work: Path, file: File, part: int | None) -> None:
        content = file.sha256 or file.git or file.name
        name = hashlib.sha256(f"{content} {file.size}".encode()).hexdigest()[:32]
        size = PART if part is None else part
        self.file = file
        self.data, self.journal = work / f"{name}.part", work / f"{name}.journal"
        self.spans = [range(at, min(at + size, file.size)) for at in range(0, file.size, size)]

    def noted(self) -> dict[range, WrittenPart]:
        """Parts that an earlier run left; whether they are still right is not yet known."""
        end = self.data.stat().st_size if self.data.is_file() else 0
        found = {range(each.begins, each.begins + each.size): each for each in noted_parts(self.journal)}
        return {span: found[span] for span in self.spans if span in found and span.stop <= end}

    def bytes_noted(self) -> int:
        return sum(map(len, self.noted()))

    def etag(self) -> str | None:
        return next((each.etag for each in self.noted().values() if each.etag), None)

    def drop(self) -> None:
        self.journal.unlink(missing_ok=True)  # first: it may speak of no other bytes
        self.data.unlink(missing_ok=True)


class _Count:
    """Reports bytes to the caller, one call at a time; `there` is what it reported so far."""

    def __init__(self, on_bytes: OnBytes, there: int) -> None:
        self.there = there
        self._on_bytes, self._lock = on_bytes, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.there += count
            self._on_bytes(count)

    def settle(self, there: int) -> None:
        """Take back what was reported, and is not there."""
        if there != self.there:
            self.add(there - self.there)


class _Attempt:
    """One try to complete a file: threads fetch what is missing while this one hashes the whole in order.

    It is fetched `in_one` request where the server ignores ranges.
    """

    def __init__(self, link: Link, parts: _Parts, count: _Count, connections: int, in_one: bool) -> None:
        self._link, self._parts, self._count, self._in_one = link, parts, count, in_one
        self._kept = parts.noted()
        missing = [span for span in parts.spans if span not in self._kept]
        most = min(ASKED, -(-len(missing) // connections))
        if in_one and missing:
            most = len(parts.spans)
            missing = parts.spans[parts.spans.index(missing[0]) :]
            self._kept = {span: self._kept[span] for span in parts.spans[: -len(missing)]}
            count.settle(sum(map(len, self._kept)))
        self._to_do = deque(_grouped(missing, most))
        self._buffer = memoryview(bytearray(_PIECE))
        self._done: queue.SimpleQueue[range | BaseException] = queue.SimpleQueue()
        count_of_threads = min(connections, len(self._to_do))
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count_of_threads)]

    def digest(self) -> str:
        """Hash of the whole, of the kind that is listed, once it is there and safe on the disk."""
        self._parts.data.touch()
        try:
            for thread in self._threads:
                thread.start()
            found = self._hashed()
            self._join()  # the last parts are being noted
        except Exception:
            self._link.stop()
            self._join()
            raise
        except BaseException:
            self._link.stop()
            self._join(_LEAVE_SECONDS)  # who hangs in a connection that is being made is left
            raise
        return found

    def _join(self, seconds: float | None = None) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident:  # it was started
                thread.join(None if end is None else max(0.0, end - time.monotonic()))

    def _hashed(self) -> str:
        whole = hasher(mark_of(self._parts.file, ""), self._parts.file.size)
        come: set[range] = set()
        with self._parts.data.open("r+b", buffering=0) as file:
            for span in self._parts.spans:
                if span in self._kept:
                    checksum, both = 0, whole.copy()
                    for piece in self._pieces(span, file):
                        checksum = zlib.crc32(piece, checksum)
                        both.update(piece)
                    if checksum == self._kept[span].crc32:
                        whole = both
                        continue
                    self._count.add(-len(span))
                    with Reader(self._link, span.start, span.stop, self._count.add) as reader:
                        self._fetch(reader, [span], file)
                while not (span in self._kept or span in come):
                    done = self._done.get()
                    if isinstance(done, BaseException):
                        raise done
                    come.add(done)
                for piece in self._pieces(span, file):
                    whole.update(piece)
            os.fsync(file.fileno())  # before it gets its name
        return whole.hexdigest()

    def _pieces(self, span: range, file: FileIO) -> Iterator[memoryview]:
        """What stands in the file, each piece until the next one; less where the file ends before."""
        file.seek(span.start)
        left = len(span)
        while left and (count := file.readinto(self._buffer[:left])):
            left -= count
            yield self._buffer[:count]

    def _work(self) -> None:
        try:
            with self._parts.data.open("r+b", buffering=0) as file:
                while group := self._next_group():
                    begins, ends = group[0].start, group[-1].stop
                    with Reader(self._link, begins, ends, self._count.add, self._in_one) as reader:
                        self._fetch(reader, group, file)
        except StoppedError:
            pass
        except BaseException as error:
            self._done.put(error)

    def _next_group(self) -> list[range]:
        try:
            return self._to_do.popleft()
        except IndexError:  # `if` and `popleft` would be two steps, with another thread between them
            return []

    def _fetch(self, reader: Reader, group: list[range], file: FileIO) -> None:
        """Write parts that follow each other, and note them: in time, and whatever ends it."""
        written: list[WrittenPart] = []
        noted = time.monotonic()
        file.seek(group[0].start)
        try:
            for span in group:
                checksum = self._copy(reader, len(span), file)
                written.append(WrittenPart(span.start, len(span), checksum, self._link.etag))
                self._done.put(span)
                if time.monotonic() - noted >= _NOTE_SECONDS:
                    self._note(written, file)
                    noted = time.monotonic()
        finally:
            self._note(written, file)

    def _note(self, written: list[WrittenPart], file: FileIO) -> None:
        if written:
            os.fsync(file.fileno())
            append_parts(self._parts.journal, written)
            written.clear()

    def _copy(self, reader: Reader, left: int, file: FileIO) -> int:
        checksum = 0  # the hash of the whole proves the rest; a second hash would cost as much again
        while left:
            data = reader.read(left)
            checksum = zlib.crc32(data, checksum)
            left -= len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest[:_WRITTEN]) :]
        return checksum


def _grouped(spans: list[range], most: int) -> list[list[range]]:
    groups: list[list[range]] = []
    for span in spans:
        if groups and len(groups[-1]) < most and groups[-1][-1].stop == span.start:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups
