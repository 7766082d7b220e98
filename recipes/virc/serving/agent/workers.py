"""Threads that compute."""

import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """So many threads that compute, and live as long as the process: torch keeps a pool of its own for each.

    They do not keep the process from ending: one may wait for a server that never answers. As many more may take the
    places of those that are stuck.
    """

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._replaced: set[Future[Any]] = set()
        self._stuck: set[Future[Any]] = set()  # that nobody has replaced
        self._count = count
        for _ in range(count):
            self._start()

    @property
    def able(self) -> bool:
        """Whether any thread can take work, now or after what it does."""
        return len(self._stuck) < self._count

    def do(self, work: Callable[[], T]) -> Future[T]:
        """Have something done when a thread is free; the future ends then, with the error if there was one."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # the thread ends it, even if nobody waits
        done.add_done_callback(self._pending.discard)
        self._pending.add(done)

        def whole() -> bool:
            try:
                found = work()
            except BaseException as error:  # a panic of a library is no `Exception`, and is to end no thread
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
                done.set_exception(failure.with_traceback(None))  # which keeps this frame, and thereby itself
            else:
                done.set_result(found)
            with self._lock:
                self._stuck.discard(done)
                goes_on = done not in self._replaced
                self._replaced.discard(done)
            return goes_on

        self._work.put(whole)
        return done

    def replace(self, done: Future[Any]) -> bool:
        """Start a thread in place of one whose work should have ended, and return whether there is one now.

        The old one ends with its work. While as many as there are threads do not, no more are replaced.
        """
        with self._lock:
            if done.done():
                return False
            if len(self._replaced) >= self._count:
                self._stuck.add(done)
                return False
            self._replaced.add(done)
        self._start()
        return True

    def wait(self, seconds: float) -> None:
        futures.wait(set(self._pending), seconds)

    def _start(self) -> None:
        threading.Thread(target=self._run, name="agent", daemon=True).start()

    def _run(self) -> None:
        while self._work.get()():
            pass
