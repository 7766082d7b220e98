"""Files written by two threads while the next ones are read: making a file costs a disk more than its bytes do."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from virc.unpack.archive.members import Member, naming

_THREADS = 2
_WAITING = 8  # batches
_BATCH = 1 << 20  # bytes of files, or
_FILES = 64  # files that are written in one go: handing each to a thread alone would cost as much as writing it
SMALL = 1 << 20
"""Bytes of a file that may wait in memory."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class _Job(NamedTuple):
    partial: str
    path: str
    member: Member
    content: Iterable[memoryview]
    before: Callable[[], None] | None = None


class Writers:
    """Made by `writers`.

    Args:
        before_names: called in the thread of the caller before files get their names.
    """

    def __init__(self, partial: Path, pool: ThreadPoolExecutor, before_names: Callable[[], None]) -> None:
        self._partial, self._pool, self._before_names = str(partial), pool, before_names
        self._numbers = count()
        self._batch: list[_Job] = []
        self._size = 0  # of the batch
        self._waiting: deque[Future[None]] = deque()

    def write(self, path: str, member: Member, content: Iterable[memoryview], before: Callable[[], None]) -> None:
        """Write a file, at once or soon.

        Args:
            before: called when all of its content is taken, before `before_names`.
        """
        partial = f"{self._partial}/{next(self._numbers)}"
        if member.size > SMALL:

            def before_name() -> None:
                before()
                self._before_names()

            _write([_Job(partial, path, member, content, before_name)])
            return
        taken = list(content)
        before()
        self._batch.append(_Job(partial, path, member, taken))
        self._size += member.size
        if self._size >= _BATCH or len(self._batch) == _FILES:
            self.flush()
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def flush(self) -> None:
        self._before_names()
        self._waiting.append(self._pool.submit(_write, self._batch))
        self._batch, self._size = [], 0

    def settle(self) -> None:
        """Wait until all are written; raises as `write`."""
        self.flush()
        while self._waiting:
            self._waiting.popleft().result()


@contextmanager
def writers(partial: Path, before_names: Callable[[], None]) -> Iterator[Writers]:
    """Start the threads, with a folder of ours on the disk of the files; what any run left half-written is deleted.

    Left by an error, they still write the files that are whole.
    """
    _clear(partial)
    partial.mkdir()
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            made = Writers(partial, pool, before_names)
            try:
                yield made
            finally:
                made.flush()
    finally:
        _clear(partial)


def _clear(partial: Path) -> None:
    if os.path.lexists(partial):
        shutil.rmtree(partial)


def _write(jobs: list[_Job]) -> None:
    for partial, path, member, content, before in jobs:
        with naming(member):
            descriptor = os.open(partial, _NEW, member.mode | 0o600)
            try:
                for span in content:
                    while span:
                        span = span[os.write(descriptor, span) :]  # noqa: PLW2901
                os.utime(descriptor if os.utime in os.supports_fd else partial, ns=(member.mtime_ns, member.mtime_ns))
            finally:
                os.close(descriptor)
            if before:
                before()
            os.replace(partial, path)  # noqa: PTH105 (a Path for each of many files costs more than this)
