"""Threads that compute, and that do not keep the process from ending: one may wait for a server that never answers."""

import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from queue import SimpleQueue


class Workers:
    """So many threads, which live as long as the process: torch keeps a pool of its own for every one that computes."""

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pending: set[Future[None]] = set()
        for number in range(count):
            threading.Thread(target=self._run, name=f"agent-{number}", daemon=True).start()

    def do(self, work: Callable[[], None], ended: Callable[[Exception | None], None]) -> None:
        """Have something done when a thread is free.

        Args:
            ended: called in that thread when it is done, with the error if there was one.
        """
        done: Future[None] = Future()
        done.add_done_callback(self._pending.discard)
        self._pending.add(done)

        def whole() -> None:
            try:
                work()
                ended(None)
            except BaseException as error:  # a panic of a library is no `Exception`, and is to end no thread
                ended(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            finally:
                done.set_result(None)

        self._work.put(whole)

    def wait(self, seconds: float) -> None:
        """Wait until all is done, but no longer than that."""
        futures.wait(set(self._pending), seconds)

    def _run(self) -> None:
        while True:
            self._work.get()()
