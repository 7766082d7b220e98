"""Prints what the package reports while it works, and how far a long command is, on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from virc_cli.console import output

if TYPE_CHECKING:
    from virc.core.events import Event, OnEvent

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


@contextmanager
def printed(quiet: bool = False, verbose: bool = False) -> Iterator["OnEvent"]:
    """A callback that prints events on stderr.

    Args:
        quiet: print warnings only.
        verbose: print the lines of engines, too.
    """
    with shown() as show:

        def on_event(event: "Event") -> None:
            if event.kind == "warning":
                output.warn(event.text, event.hint)
            elif quiet:
                return
            elif event.kind == "progress":
                show(event.text)
            elif event.kind == "note" or verbose:
                output.note(event.text, dim=event.kind == "log")

        yield on_event
