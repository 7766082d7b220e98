"""Prints what the package reports while it works."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from virc_cli.console import output, progress

if TYPE_CHECKING:
    from virc.core.events import Event, OnEvent


@contextmanager
def printed(quiet: bool = False, verbose: bool = False) -> Iterator["OnEvent"]:
    """A callback that prints events on stderr.

    Args:
        quiet: print warnings only.
        verbose: print the lines of engines, too.
    """
    with progress.shown() as show:

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
