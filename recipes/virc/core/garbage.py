"""Pauses of Python's garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
