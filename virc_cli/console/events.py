"""Prints what the package reports while it works, and how far a long command is, on stderr."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from virc_cli.console import output

if TYPE_CHECKING:
    from virc.core.events import Event, Reporter

_ON_TERMINAL, _IN_FILES = 0.1, 5.0  # seconds between two lines


class Show(Protocol):
    """Shows a line."""

    def __call__(self, text: str, at_once: bool = False) -> None:
        """Show it; one that comes soon after another only if it is to be shown `at_once`."""


@contextmanager
def shown() -> Iterator[Show]:
    """Give a function that shows a line: rewritten on a terminal, else added every few seconds."""
    rewrites = sys.stderr.isatty()
    last, width = time.monotonic(), 0  # a line as wide as the terminal would be followed, not rewritten

    def show(text: str, at_once: bool = False) -> None:
        nonlocal last, width
        now = time.monotonic()
        if not at_once and now - last < (_ON_TERMINAL if rewrites else _IN_FILES):
            return
        last = now
        if rewrites:
            text = text[: room()]
        output.note(text.ljust(min(width, room())), end="\r" if rewrites else "\n")
        width = len(text) if rewrites else 0

    try:
        yield show
    finally:
        output.clear()


def room(stream: TextIO | None = None) -> int:
    """Characters that a line on a terminal, by default stderr, may have to be rewritten."""
    try:
        columns = os.get_terminal_size((stream or sys.stderr).fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return columns - 1 if columns > 1 else 79  # some terminals do not know how wide they are


@contextmanager
def printed(quiet: bool = False, verbose: bool = False) -> Iterator["Reporter"]:
    from virc.core.events import Reporter

    with shown() as show:

        def on_event(event: "Event") -> None:
            if event.kind == "warning":
                output.warn(event.text, event.hint)
            elif quiet:
                return
            elif event.kind in ("start", "progress"):
                show(event.text, at_once=event.kind == "start")
            elif event.kind == "note" or verbose:
                output.note(event.text, dim=event.kind == "log")

        yield Reporter(on_event)
