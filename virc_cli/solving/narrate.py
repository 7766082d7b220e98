"""Tells on stderr, while it happens, what the model thinks and where it looks."""

import re

from virc_cli import output
from virc_recipes.reasoning.session import Rejected
from virc_recipes.solve import Event, Look, Piece, Start
from virc_recipes.trace_page import in_words

_TAG = re.compile(r"</?(think|tool_call|answer)>")
_PART_OF_TAG = re.compile(r"</?[a-z_]{0,9}\Z")
_HIDDEN = ("tool_call", "answer")


class Thoughts:
    """The thoughts in a streamed reply: its tags, its tool call and its answer are left out."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = ""

    def feed(self, piece: str) -> str:
        """The text to show now; what may become a tag is held back until it is clear."""
        text = self._held + piece
        half = _PART_OF_TAG.search(text)
        text, self._held = (text[: half.start()], half[0]) if half else (text, "")
        shown, position = "", 0
        for tag in _TAG.finditer(text):
            shown += self._visible(text[position : tag.start()])
            self._inside = "" if tag[0].startswith("</") else tag[1]
            position = tag.end()
        return shown + self._visible(text[position:])

    def _visible(self, text: str) -> str:
        return "" if self._inside in _HIDDEN else text


class Narrator:
    """Told of every event of a problem. Thoughts are dim where there is colour, tool calls stand in words."""

    def __init__(self) -> None:
        self._thoughts = Thoughts()
        self._line = ""  # what the current line of stderr holds

    def __call__(self, event: Event) -> None:
        """Tell of one event."""
        if isinstance(event, Piece):
            self._say(self._thoughts.feed(event.text))
            return
        if isinstance(event, Look):  # its unit has told where
            return
        self._thoughts = Thoughts()
        if self._line:
            output.note("")
            self._line = ""
        if isinstance(event, Start):
            if event.total > 1:
                output.note(f"-- sample {event.number} of {event.total}")
        elif isinstance(event, Rejected):
            output.note(f"-> this reply cannot be used: {event.reason}")
        elif event.call:
            output.note(f"-> {in_words(event.call)}: image {event.shown}")

    def _say(self, text: str) -> None:
        text = re.sub(r"\n\s*", "\n", text)
        if not self._line:
            text = text.lstrip()
        if text:
            output.note(text, end="", dim=True)
            self._line = text if "\n" not in text else text.rpartition("\n")[2]
