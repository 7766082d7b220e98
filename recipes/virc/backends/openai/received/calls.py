"""Tool calls as they come in."""

from typing import Any

import msgspec

from virc.reasoning.bodies import Called


class Function(msgspec.Struct):
    """What a call names, and its arguments: an object, or text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Call(msgspec.Struct):
    """A tool call, or a piece of one: its arguments are an object, or text that comes in pieces.

    Some servers write `name` and `arguments` beside `id` and not within `function`.
    """

    index: int | None = None
    id: str | None = None
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

    @property
    def ended(self) -> bool:
        """Whether its arguments are whole, so that another name begins another call."""
        if self._object is not None:
            return True
        try:
            return isinstance(msgspec.json.decode("".join(self._text)), dict)
        except (ValueError, RecursionError):
            return False

    def add(self, function: Function) -> None:
        """Take a piece; a name that is sent again with every piece is the same."""
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
        """The whole call."""
        return Called(self.name, "".join(self._text) if self._object is None else self._object)
