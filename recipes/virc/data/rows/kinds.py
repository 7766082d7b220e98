"""Whether a field has values of one kind in every row, as LLaMA-Factory's reader of JSON requires."""

from collections.abc import Iterator, Mapping

from virc.core.json_stream import Fields
from virc.core.text import plain

_MOST_KNOWN = 10_000  # fields, those of objects within rows counted too
_NAMES: Mapping[type, str] = {
    bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip


class Kinds:
    """The kind of value that each field held first, and in which row."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, int]] = {}

    def flaws(self, number: int, row: Fields) -> Iterator[str]:
        """What the reader would stop at in a row, at most one flaw of each sort; later rows are compared with it."""
        found: dict[str, str] = {}
        for path, value in _values(row):
            kind = _NAMES[type(value)]
            first, where = self._first.get(path, (kind, number))
            if first != kind:
                flaw = f"{plain(path, 60)} is {kind}, and {first} in row {where}: LLaMA-Factory stops at the file"
                found.setdefault("kind", flaw)
            elif len(self._first) < _MOST_KNOWN:
                self._first.setdefault(path, (kind, number))
            if kind == "text":
                try:
                    str(value).encode()
                except UnicodeEncodeError:
                    flaw = f"{plain(path, 60)} holds half a character: LLaMA-Factory stops at it"
                    found.setdefault("half", flaw)
        yield from found.values()


def _values(row: Fields) -> Iterator[tuple[str, object]]:
    """Every value in a row with the path to it, but null, which goes with any kind."""
    left: list[tuple[str, object]] = list(row.items())
    while left:
        path, value = left.pop()
        if value is None:
            continue
        yield path, value
        if isinstance(value, dict):
            left.extend((f"{path}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            left.extend((f"{path}[]", inner) for inner in value)
