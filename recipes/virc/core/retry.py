"""Retries of what may have failed in passing: `Pace` slows down all requests to one server, `retried` retries."""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import TypeVar

from virc.core.work import forks

_T = TypeVar("_T")
_FIRST_GAP, _MAX_GAP, _MIN_GAP = 0.25, 30.0, 0.02  # seconds


class Pace:
    """How fast all threads together send requests to one server: slower if it is too busy, faster with each answer.

    Attributes:
        answered: how many requests were answered.
        asking: how many are under way, or are to be tried again.
    """

    def __init__(self) -> None:
        self._lock = forks.Lock()
        self._gap = 0.0  # seconds between two requests
        self._next = self._last_answer = -math.inf  # monotonic times: of the next request, and of the last answer
        self._slowed_at, self._answered_at_slowing = -math.inf, -1  # when the gap was last made longer
        self.answered = self.asking = 0

    def turn(self, until: float = math.inf) -> float:
        """Reserve the time of the next request, if that is before the monotonic time `until`; return seconds to it."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            if start < until:
                self._next = start + self._gap
            return start - now

    def wait(self, until: float) -> None:
        """Wait for the time of the next request, unless that is after the monotonic time `until`."""
        if 0 < (seconds := self.turn(until)) < until - time.monotonic():
            time.sleep(seconds)

    def slow(self, began: float, wait: float) -> None:
        """Ask nothing for `wait` seconds, then more slowly: a request begun at `began` (monotonic s) was refused."""
        with self._lock:
            now = time.monotonic()
            # Refusals of requests that were under way tell nothing new, nor do others as long as none is answered.
            if began > self._slowed_at and self.answered > self._answered_at_slowing:
                self._gap = min(max(2 * self._gap, _FIRST_GAP), _MAX_GAP)
                self._slowed_at, self._answered_at_slowing = now, self.answered
            self._next = max(self._next, now + wait)

    @contextmanager
    def asks(self) -> Iterator[None]:
        with self._lock:
            self.asking += 1
        try:
            yield
        finally:
            with self._lock:
                self.asking -= 1

    def has_answered(self, seconds: float) -> bool:
        return time.monotonic() - self._last_answer <= seconds

    def note_answer(self) -> None:
        with self._lock:
            self.answered += 1
            self._last_answer = time.monotonic()
            self._gap = 0.8 * self._gap if self._gap > _MIN_GAP else 0.0


@cache
def pace_of(server: str) -> Pace:
    return Pace()


def pause_before(retry: int, first: float, longest: float = math.inf) -> float:
    """Return the seconds to wait before a retry, counted from 1: doubled each time, times a random .75 to 1."""
    return min(first * 2.0 ** min(retry - 1, 60), longest) * random.uniform(0.75, 1)


def retried(
    ask: Callable[[], _T],
    passing: Callable[[Exception, float], float | None],
    *,
    tries: float = math.inf,
    first: float = 0.5,
    longest: float = math.inf,
    until: float = math.inf,
) -> _T:
    """Return what `ask` returns, asked again after pauses while it fails in passing.

    Args:
        passing: gets an error and the usual pause in seconds, and returns the pause to take; None: do not try again.
        tries: how often it is asked at most.
        first, longest: pauses in seconds, as of `pause_before`.
        until: monotonic time in seconds after which no try begins.

    Raises:
        Exception: that of the last try.
    """
    for number in count(1):
        try:
            return ask()
        except Exception as error:
            pause = passing(error, pause_before(number, first, longest))
            if pause is None or number >= tries or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
    raise AssertionError
