"""Tool calls as they come in."""

from collections.abc import Mapping
from typing import Any

import msgspec

from virc.backends.openai.received.texts import joined
from virc.reasoning.bodies import Called


class Function(msgspec.Struct):
    """What a call names, and its arguments: an object, or text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Call(msgspec.Struct):
    """A tool call, or a piece of one: its arguments are an object, or text that comes in pieces.

    Some servers write `name` and `arguments` beside `id` and not within `function`.
    """

    index: Any = None
    id: Any = None
    function: Function | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPieces:
    """A tool call as it comes in."""

    def __init__(self) -> None:
        self.name = ""
        self._text: list[str] = []
        self._size = 0
        self._object: dict[str, Any] | None = None
        self._own: dict[str, Any] | None = {}

    @property
    def ended(self) -> bool:
        """Whether its arguments are whole, so that another name begins another call."""
        if self._object is not None:
            return True
        try:
            return isinstance(msgspec.json.decode("".join(self._text)), dict)
        except (ValueError, RecursionError):
            return False

    def add(self, function: Function, own: Mapping[str, Any] | None = None) -> None:
        """Take a piece, `own` as the server has it; a name that is sent again with every piece is the same."""
        if own is None:
            self._own = None
        elif self._own is not None:
            merge(self._own, {key: value for key, value in own.items() if key != "index"})
        if function.name and function.name != self.name:
            self.name += function.name
        if isinstance(function.arguments, str):
            before = "".join(self._text) if 1 < self._size <= len(function.arguments) else ""
            if before and function.arguments.startswith(before):  # all of them so far
                self._text.clear()
            self._text.append(function.arguments)
            self._size = sum(map(len, self._text)) if before else self._size + len(function.arguments)
        elif function.arguments is not None:
            self._object = function.arguments

    def called(self) -> Called:
        return Called(self.name, joined(self._text) if self._object is None else self._object)

    def own(self) -> dict[str, Any] | None:
        """The whole call as the server has it, with fields that virc does not know; None: it has no such form."""
        if self._own is None:
            return None
        called = self.called()
        function = {**(self._own.get("function") or {}), "name": called.name, "arguments": called.arguments}
        return {"type": "function", **self._own, "function": function}


def merge(own: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Add a piece of an object of the server to what came of it: lists grow, and of other values the last counts."""
    for key, value in piece.items():
        before = own.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            own[key] = before + value
        elif value not in (None, "") or key not in own:
            own[key] = value
