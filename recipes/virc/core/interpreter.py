"""What this package does to the interpreter that it runs in: pauses of garbage collection, and the end."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

exit_code = 1  # of this process, once it is known


def join_or_leave(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait for threads; end the process at once where they take longer.

    To be called when Python ends: it would end them in the midst of C++ code, which aborts the process.
    """
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM come when the block ends, not within it; other threads than the main one get none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    python = [number for number, handler in handlers.items() if callable(handler)]
    for number in python:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number in python:
            signal.signal(number, handlers[number])
        if came:
            signal.raise_signal(came[0])


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect no garbage inside, in all threads; also a decorator.

    It is for imports of large libraries: they allocate so much that the collector runs again and again, through all
    that was imported before, and finds none. `benchmarks/startup.py` measures what that costs.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def resume_collection() -> None:
    """Collect garbage again where it was paused, by a command line that has its libraries and its model.

    They stay to its end: no collection, nor that at the exit, has to go through them.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
