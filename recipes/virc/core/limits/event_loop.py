"""Coroutines for threads: one event loop in the background, which all of a process share."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_LOOPS: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a thread does not survive a fork
_LOCK = threading.Lock()
_T = TypeVar("_T")


def started(work: Coroutine[Any, Any, _T]) -> "Future[_T]":
    """Return the result to come of a coroutine; cancelling the future cancels it."""
    with _LOCK:
        loop = _LOOPS.get(os.getpid())
        if loop is None:
            loop = _LOOPS[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, loop)
