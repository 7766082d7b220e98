"""An environment at work: in a thread of its own, with an end to how long it may take."""

import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from virc.core.timeouts import LateError

_Made = TypeVar("_Made")
_Jobs = queue.SimpleQueue[tuple[Callable[[Any], Any], queue.SimpleQueue[tuple[Any, BaseException | None]]] | None]


class Live:
    """One environment. It is made, asked and closed in the same thread, as drawing libraries want it.

    A thread that hangs cannot be ended: it is left behind, and ends with the process.

    Args:
        make: makes the environment.
        seconds: how long one job may take.
    """

    def __init__(self, make: Callable[[], Any], seconds: float) -> None:
        self.seconds = seconds
        self._jobs: _Jobs = queue.SimpleQueue()
        threading.Thread(target=_work, args=(make, self._jobs), daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def run(self, job: Callable[[Any], _Made]) -> _Made:
        """What a job makes of the environment.

        Raises:
            LateError: it takes too long.
            Exception: whatever the environment raises.
        """
        done: queue.SimpleQueue[tuple[_Made, BaseException | None]] = queue.SimpleQueue()
        self._jobs.put((job, done))
        try:
            made, error = done.get(timeout=self.seconds)
        except queue.Empty:
            raise LateError from None
        if error is not None:
            raise error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
        return made


def _work(make: Callable[[], Any], jobs: _Jobs) -> None:
    environment: Any = None
    while job := jobs.get():
        try:
            environment = make() if environment is None else environment
            job[1].put((job[0](environment), None))
        except BaseException as error:  # an environment may even raise SystemExit
            job[1].put((None, error))
    with suppress(Exception):
        if environment is not None:
            environment.close()
