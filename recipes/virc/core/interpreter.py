"""What this package does to the interpreter that it runs in: pauses of garbage collection, and the end."""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

exit_code = 1
"""That of this process, once it is known."""


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
def collection_paused() -> Iterator[None]:
    """Collect no garbage inside, in all threads; also a decorator.

    It is for imports of large libraries: they allocate so much that the collector runs again and again, through all
    that was imported before, and finds none. `tests/benchmarks/startup.py` measures what that costs.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
