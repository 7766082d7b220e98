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

    They do not keep the process from ending: one may wait for a server that never answers.
    """

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pending: set[Future[Any]] = set()
        for number in range(count):
            threading.Thread(target=self._run, name=f"agent-{number}", daemon=True).start()

    def do(self, work: Callable[[], T]) -> Future[T]:
        """Have something done when a thread is free; the future ends then, with the error if there was one."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # the thread ends it, even if nobody waits
        done.add_done_callback(self._pending.discard)
        self._pending.add(done)

        def whole() -> None:
            try:
                found = work()
            except BaseException as error:  # a panic of a library is no `Exception`, and is to end no thread
                done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            else:
                done.set_result(found)

        self._work.put(whole)
        return done

    def wait(self, seconds: float) -> None:
        """Wait until all is done, but no longer than that."""
        futures.wait(set(self._pending), seconds)

    def _run(self) -> None:
        while True:
            self._work.get()()
