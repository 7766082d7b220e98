"""Waits for an endpoint that goes away during a batch; the rows in work are then done again."""

import math
import threading
import time
from collections.abc import Callable

from virc.core.errors import NetworkError

LOOK_SECONDS = 2.0
MAX_SECONDS = 300.0


class Outage:
    """Whether an endpoint that failed a row was away; waits until it is back. Threads may share it."""

    def __init__(self, answers: Callable[[], bool], on_wait: Callable[[str], None]) -> None:
        self._answers, self._on_wait = answers, on_wait
        self._lock = threading.Lock()
        self._left: NetworkError | None = None
        self._back = -math.inf  # monotonic time, s

    def over(self, error: NetworkError, began: float, stop: threading.Event) -> bool:
        """Whether a row begun at `began` (monotonic s) that failed so is to be done again; False when `stop` is set.

        It is where the endpoint was away and is back, is too busy, or broke the connection to this row. A
        NetworkError where the endpoint stayed away.
        """
        with self._lock:  # one row checks, the others wait for its result
            if self._left:
                raise self._left
            if stop.is_set():
                return False
            if self._back > began:
                return True
            if error.wait is not None and error.wait <= MAX_SECONDS:
                stop.wait(error.wait)
                self._back = time.monotonic()
                return not stop.is_set()
            if self._answers():
                return error.broken
            longest = f"{MAX_SECONDS / 60:g} minutes"
            self._on_wait(f"{error.message}; rows in work wait until the endpoint answers, {longest} at most")
            end, back = time.monotonic() + MAX_SECONDS, False
            while not back and time.monotonic() < end:
                back = stop.wait(LOOK_SECONDS) or self._answers()
            if not back:
                sentence = f"the endpoint did not come back within {longest}: {error.message}"
                self._left = NetworkError(sentence, error.hint or "the same command continues from here")
                raise self._left
            self._back = time.monotonic()
            return not stop.is_set()
