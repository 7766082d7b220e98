"""How far a long command is, as a line on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from virc_cli.console import output

_ON_TERMINAL, _IN_FILES = 0.1, 5.0  # seconds between two lines


@contextmanager
def shown() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line: rewritten on a terminal, else added every few seconds."""
    rewrites = sys.stderr.isatty()
    last, width = time.monotonic(), 0  # a line as wide as the terminal would be followed, not rewritten

    def show(text: str) -> None:
        nonlocal last, width
        now = time.monotonic()
        if now - last < (_ON_TERMINAL if rewrites else _IN_FILES):
            return
        last = now
        if rewrites:
            text = text[: room()]
        output.note(text.ljust(min(width, room())), end="\r" if rewrites else "\n")
        width = len(text) if rewrites else 0

    try:
        yield show
    finally:
        if width:
            output.note(" " * min(width, room()), end="\r")


def room(stream: TextIO | None = None) -> int:
    """Characters that a line on a terminal, by default stderr, may have to be rewritten."""
    try:
        columns = os.get_terminal_size((stream or sys.stderr).fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return columns - 1 if columns > 1 else 79  # some terminals do not know how wide they are
