"""Retries of what may have failed in passing, as fast as a server wants to be asked.

`seconds_asked` reads how long a server asks to wait, `Pace` slows down all requests to one server, `retried` retries.
"""

import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from itertools import count
from typing import TypeVar

from virc.core.work import forks

_T = TypeVar("_T")
_FIRST_GAP, _MAX_GAP, _MIN_GAP = 0.25, 30.0, 0.02  # seconds
_UNITS = {"ms": 0.001, "mi": 60.0, "m": 60.0, "ho": 3600.0, "hr": 3600.0, "h": 3600.0, "da": 86_400.0, "d": 86_400.0}
"""First two letters of a unit -> seconds."""
_AMOUNT = (
    r"[0-9]{1,14}+(?:\.[0-9]++)?(?![0-9])\s*+(?:ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)?(?![a-z])"
)
_SAID = re.compile(
    r"(?:retry|try again|wait|resets?|available)(?:delay|in|after|again|at least|for|about|[\s'\":=_-])*+"
    rf"((?:{_AMOUNT}[\s,]*)+)",
    re.IGNORECASE,
)
_RESETS = re.compile(r"(?:x-|anthropic-)?rate-?limit-(?:.*-)?reset(?:-.*)?", re.IGNORECASE)
_MIN_TIME = 1e9  # larger numbers are times, in seconds since 1970


def seconds_asked(headers: Mapping[str, str], said: str = "") -> float | None:
    """Return the seconds that a refusal asks to wait, by its headers, else its body (`said`); None: it asks for none.

    Retry-After (RFC 9110), RateLimit and other headers of limits have seconds, durations (`1m30s`), dates or times
    since 1970.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if (exact := _until(lower.get("retry-after-ms", ""), 0.001)) is not None:
        return exact
    if lower.get("retry-after"):
        return _until(lower["retry-after"])
    if spent := _spent(lower.get("ratelimit", "")):
        return max(spent)
    if found := _SAID.search(said[:4096]):
        return _until(found[1])
    resets = [
        _until(value)
        for name, value in lower.items()
        if _RESETS.fullmatch(name) and lower.get(name.replace("reset", "remaining"), "0").strip() in ("0", "0.0")
    ]
    return max((each for each in resets if each is not None), default=None)


def _spent(limits: str) -> list[float]:
    """Seconds until each used up limit of a `RateLimit` header (IETF draft) is reset: 42 in `"api";r=0;t=42`."""
    policies = [limits] if "reset" in limits else limits.split(",")
    fields = [dict(re.findall(r"\b([a-z]+)\s*=\s*\"?([0-9]{1,9})", policy.lower())) for policy in policies]
    used_up = [each for each in fields if each.get("r", each.get("remaining")) == "0"]
    return [float(seconds) for each in used_up if (seconds := each.get("t", each.get("reset")))]


def _until(text: str, unit: float = 1.0) -> float | None:
    """The seconds until what a text says: a duration (without a unit in `unit` seconds), a time or a date; or None."""
    text, now = text.strip().lower().replace("z", "+00:00"), datetime.now(UTC).timestamp()
    if parts := re.fullmatch(rf"(?:{_AMOUNT}[\s,]*)+", text):
        amounts = re.findall(r"(\d[\d.]*)\s*([a-z]*)", parts[0])
        total = sum(float(number) * _UNITS.get(word[:2], unit) for number, word in amounts)
        if total <= _MIN_TIME:
            return total
        time_asked = total / 1000 if total > 1000 * _MIN_TIME else total  # some write milliseconds
        return max(0.0, time_asked - now)
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, OverflowError, TypeError):
            return max(0.0, read(text).timestamp() - now)
    return None


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
