"""How far a long command is, as a line on stderr; sizes as people read them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from virc_cli import output

_ON_TERMINAL, _IN_FILES = 0.1, 5.0  # seconds between two lines


@contextmanager
def shown() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line: rewritten on a terminal, else added every few seconds."""
    rewrites = sys.stderr.isatty()
    last, width = time.monotonic(), 0

    def show(text: str) -> None:
        nonlocal last, width
        now = time.monotonic()
        if now - last < (_ON_TERMINAL if rewrites else _IN_FILES):
            return
        last = now
        output.note(text.ljust(width), end="\r" if rewrites else "\n")
        width = len(text) if rewrites else 0

    try:
        yield show
    finally:
        if width:
            output.note(" " * width, end="\r")


def sized(count: float) -> str:
    """A number of bytes in the unit that fits."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
