"""Trying again what may have failed in passing."""

import math
import random
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

_T = TypeVar("_T")


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
        passing: of an error and the pause that is meant, in seconds, returns the pause to take; None: trying again
            cannot help.
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
