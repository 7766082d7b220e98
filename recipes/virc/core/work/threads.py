"""Work in a thread that nobody has to wait for, and coroutines for threads."""

import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

_LOOPS: dict[int, "asyncio.AbstractEventLoop"] = {}  # by process: a thread does not survive a fork
_LOCK = threading.Lock()
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


def scheduled(work: Coroutine[Any, Any, _T]) -> "Future[_T]":
    """Return the result to come of a coroutine; cancelling the future cancels it.

    All of a process share one event loop in the background.
    """
    import asyncio  # most threads have no coroutines, and it takes 30 ms

    with _LOCK:
        loop = _LOOPS.get(os.getpid())
        if loop is None:
            loop = _LOOPS[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, loop)
