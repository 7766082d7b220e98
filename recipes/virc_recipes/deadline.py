"""An end to how long something may take, whatever it is doing then."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TimeUp(BaseException):
    """The time is over. No `Exception`, so that no client's retry takes it for a failure of its own."""


class Deadline:
    """A point in time, `seconds` from now; None never comes."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Raise TimeUp if the time is over."""
        if self._end is not None and time.monotonic() >= self._end:
            raise TimeUp

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Let TimeUp come by itself inside, in the midst of whatever is waited for.

        Only the main thread of a POSIX system can be interrupted so; elsewhere nothing but `check` raises.
        """
        if (
            self._end is None
            or not hasattr(signal, "setitimer")
            or threading.current_thread() is not threading.main_thread()
        ):
            yield
            return
        before = signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, max(self._end - time.monotonic(), 1e-6))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TimeUp
