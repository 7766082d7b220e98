"""Work in a thread that nobody has to wait for."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def started(work: Callable[[], _T]) -> "Future[_T]":
    """Return the result to come of `work`, done in a daemon thread in the context of the caller.

    The future cannot be cancelled, and an interrupted program does not wait for the thread.
    """
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(do,), daemon=True).start()
    return future
