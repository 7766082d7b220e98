"""How far a download is: what came, how fast, and how long the rest takes."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from virc.core.events import Reporter
from virc.core.text import duration, sized
from virc.download.hub.repository import File, OnBytes

Doing = Literal["fetching", "checking", "unpacking"]
_EVERY = 0.2  # seconds between two reports
_WINDOW = 10.0  # seconds over which the rate is averaged
_LARGE = 16 * 2**20  # bytes
_NAMED = 100  # files that are logged by their names; of others, the large ones
_NAME = 34  # characters of a file's name
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))
_PAST = {"fetching": "fetched", "checking": "checked", "unpacking": "unpacked"}


class Meter:
    """Progress of a download of `missing` bytes, reported five times a second, also if nothing comes."""

    def __init__(self, missing: int, report: Reporter) -> None:
        self._missing, self._come, self._report = missing, 0, report
        self._file, self._doing, self._done = "", "fetching", 0
        self._size, self._lock = 0, threading.Lock()
        self._ended: dict[Doing, int] = {}
        self._warned: set[str] = set()
        self._past: deque[tuple[float, int]] = deque()

    def begin(self, doing: Doing, file: File) -> OnBytes:
        """Work on a file begins, perhaps besides others; call the function returned with each number of bytes done."""
        if doing != self._doing:
            self._past.clear()
        self._file, self._doing, self._size, self._done = file.name, doing, file.size, 0
        return partial(self._fetched, file.name) if doing == "fetching" else self._worked

    def end(self, doing: Doing, file: File) -> None:
        if doing != "fetching":  # files are fetched several at a time: others go on
            self._file = ""
        count = self._ended[doing] = self._ended.get(doing, 0) + 1
        if count <= _NAMED or file.size >= _LARGE or doing == "unpacking":
            self._report.log(f"{_PAST[doing]} {file.name}, {sized(file.size)}")
        elif count % 1000 == 0:
            self._report.log(f"{_PAST[doing]} {count:,} files")

    def warn(self, text: str) -> None:
        if text not in self._warned:
            self._report.warn(text)
        self._warned.add(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(_EVERY):
                if self._file:
                    self._report.progress(self.line(time.monotonic()))

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def line(self, now: float) -> str:
        fetching = self._doing == "fetching"
        done, size = (self._come, self._missing) if fetching else (self._done, self._size)
        rate = self._rate(now, done)
        rest = f"{sized(rate)}/s, {duration((size - done) / rate)} left" if rate else "waiting"
        name = self._file if len(self._file) <= _NAME else f"…{self._file[1 - _NAME :]}"
        return f"{'' if fetching else f'{self._doing} '}{name}  {part_of(done, size)}, {rest}"

    def _fetched(self, name: str, count: int) -> None:
        with self._lock:  # several files come at a time; the one that moves is shown
            self._come += count
            self._file = name

    def _worked(self, count: int) -> None:
        self._done += count

    def _rate(self, now: float, done: int) -> float:
        self._past.append((now, done))
        while len(self._past) > 2 and now - self._past[0][0] > _WINDOW:
            self._past.popleft()
        then, before = self._past[0]
        return max(0.0, (done - before) / (now - then)) if now > then else 0.0


def part_of(done: int, size: int) -> str:
    """`3.1 of 16.6 GB`, of the same width however far it is."""
    unit, name = next((each for each in _UNITS if size >= each[0]), _UNITS[-1])
    return f"{done / unit:.1f} of {size / unit:.1f} {name}"
