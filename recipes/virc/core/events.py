"""What work that takes long reports while it goes on, so that a caller decides what to print."""

from collections.abc import Callable
from typing import Literal

import msgspec

from virc.core.errors import as_virc_error
from virc.core.options import spelled, spelled_hint


class Event(msgspec.Struct, frozen=True):
    """One report, of one line.

    Args:
        kind: `start` names the work that begins; `progress` replaces that and the progress before it; a `note` or
            `warning` stays; `log` is a line of an engine.
        hint: what to do about a warning.
    """

    kind: Literal["start", "progress", "note", "warning", "log"]
    text: str
    hint: str | None = None


OnEvent = Callable[[Event], None]


class Reporter:
    """Sends events to a callback; without one, nowhere."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self.send: OnEvent = on_event or (lambda event: None)

    def start(self, text: str) -> None:
        self.send(Event("start", text))

    def progress(self, text: str) -> None:
        self.send(Event("progress", text))

    def note(self, text: str) -> None:
        self.send(Event("note", spelled(text)))

    def warn(self, text: str, hint: str | None = None) -> None:
        self.send(Event("warning", spelled(text), spelled_hint(hint)))

    def failure(self, error: Exception, before: str = "") -> None:
        known = as_virc_error(error)
        self.warn(f"{before}{known.message}", known.hint)

    def log(self, text: str) -> None:
        self.send(Event("log", text))
