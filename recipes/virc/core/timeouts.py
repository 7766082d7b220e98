"""An end to work, by time or by another thread, whatever it is doing then."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from types import FrameType
from typing import TypeVar

_Said = TypeVar("_Said")
_Result = TypeVar("_Result")


class TimeUp(BaseException):
    """The time is over. No `Exception`, so that no client's retry takes it for a failure of its own."""


class LateError(Exception):
    """The time for a piece of work is over; raised by `within`."""


class Stop(threading.Event):
    """A signal to end work in other threads: set, it interrupts what waits in `within` under it."""

    def __init__(self) -> None:
        super().__init__()
        self._wakes: set[Callable[[], None]] = set()
        self._changing = threading.Lock()

    def set(self) -> None:
        with self._changing:
            super().set()
            wakes = [*self._wakes]
        for wake in wakes:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        with self._changing:
            self._wakes.add(wake)
            late = self.is_set()
        try:
            if late:
                wake()
            yield
        finally:
            with self._changing:
                self._wakes.discard(wake)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """End what this thread does inside the block by KeyboardInterrupt when the signal is set."""
        token = _STOP.set(self)
        try:
            yield
        finally:
            _STOP.reset(token)


_STOP: ContextVar[Stop | None] = ContextVar("stop", default=None)


def on_stop(wake: Callable[[], None]) -> AbstractContextManager[None]:
    """Call `wake` when the stop that applies to this thread is set inside the block, or was before."""
    stop = _STOP.get()
    return stop.waking(wake) if stop else nullcontext()


def check_stop() -> None:
    """Raise KeyboardInterrupt if the stop that applies to this thread is set."""
    stop = _STOP.get()
    if stop and stop.is_set():
        raise KeyboardInterrupt


class Deadline:
    """A point in time, `seconds` from now, None: never; or the stop that applies to this thread, whatever is first."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._stop = _STOP.get()

    def check(self) -> None:
        """Raise TimeUp if the time is over, KeyboardInterrupt if the work was stopped."""
        if self._stop and self._stop.is_set():
            raise KeyboardInterrupt
        if self._end is not None and time.monotonic() >= self._end:
            raise TimeUp

    def left(self) -> float | None:
        """Seconds until then, at least 0; None: no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.monotonic()
        try:
            yield
        finally:
            if self._end is not None:
                self._end += time.monotonic() - before

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Let TimeUp come by itself inside, in the midst of whatever is waited for.

        Only the main thread of a POSIX system can be interrupted so; elsewhere nothing but `check` raises.
        """
        in_main = threading.current_thread() is threading.main_thread()
        if self._end is None or not hasattr(signal, "setitimer") or not in_main:
            yield
            return
        began = time.monotonic()
        before = signal.signal(signal.SIGALRM, _ring)
        left, interval = signal.setitimer(signal.ITIMER_REAL, max(self._end - began, 1e-6))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if left:  # the caller's own alarm goes on
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TimeUp


def within(
    end: float,
    work: Callable[[Callable[[_Said], None]], _Result],
    hear: Callable[[_Said], None] = lambda _: None,
    afterwards: Callable[[], None] = lambda: None,
) -> _Result:
    """The result of `work`, done in a thread of its own and left at `end` or a `Stop`, whatever it waits for then.

    Args:
        end: time in seconds, as `time.monotonic` counts.
        work: gets a function to pass values on with, such as text as it comes; once the caller has left, that raises.
        hear: gets these values, in the thread of the caller.
        afterwards: done in the thread of `work` when its result or error was handed over; what it raises is dropped.

    Raises:
        LateError: the time is over.
        KeyboardInterrupt: the stop that applies to this thread is set.
        Exception: what `work` raises.
    """
    # A value that was passed on is in a tuple; None: the work is done; an exception: it failed or was stopped.
    events: queue.SimpleQueue[tuple[_Said] | BaseException | None] = queue.SimpleQueue()
    results: list[_Result] = []
    caller_left = threading.Event()

    def say(value: _Said) -> None:
        if caller_left.is_set():
            raise LateError
        events.put((value,))

    def run() -> None:
        try:
            results.append(work(say))
            events.put(None)
        except Exception as error:
            events.put(error)
        with suppress(Exception):
            afterwards()

    with on_stop(lambda: events.put(KeyboardInterrupt())):
        threading.Thread(target=run, daemon=True).start()
        try:
            while not (results and events.empty()):
                if (seconds_left := end - time.monotonic()) <= 0:
                    raise LateError
                try:
                    event = events.get(timeout=seconds_left)
                except queue.Empty:
                    raise LateError from None
                if isinstance(event, BaseException):
                    raise event
                if event:
                    hear(*event)
        finally:
            caller_left.set()
    return results[0]
