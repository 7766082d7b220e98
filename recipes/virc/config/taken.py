"""What comes in over an edge, from a file, a server or a client, and is not used: named once, or refused.

`taken.yaml` has for each edge the fields without which the result would be wrong, `refused`, and those without an
effect on it, `harmless`, with where that was read. Every other field that is not used is named. Null and what is empty
say nothing.
"""

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from virc.core.text import plain

Kind = TypeVar("Kind", bound=msgspec.Struct)

_EMPTY: tuple[object, ...] = (None, "", [], {})
_MAX_NAMED = 5  # names in a sentence


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of an edge that nothing uses.

    Args:
        of: what has them, as a sentence says it: `messages`.
        refused: those without which the result would be wrong.
        harmless: those without an effect on it -> where that was read.
        like: another edge, whose fields are those of this one, too.
        says: what the sentence says of names that are left; None: that they are not read.
    """

    of: str
    refused: tuple[str, ...] = ()
    harmless: Mapping[str, str] = {}
    like: str | None = None
    says: str | None = None


class Taken(NamedTuple, Generic[Kind]):
    """A value that was read, and the names of fields that it does not have."""

    value: Kind
    left: tuple[str, ...]


@cache
def edges() -> Mapping[str, Edge]:
    """Every edge by name."""
    return msgspec.yaml.decode(Path(__file__).with_suffix(".yaml").read_bytes(), type=dict[str, Edge])


def take(edge: str, fields: Mapping[str, Any], kind: type[Kind]) -> Taken[Kind]:
    """Read fields as a Struct. Raises msgspec.ValidationError: one is of another type, or missing."""
    return Taken(msgspec.convert(fields, kind, strict=False), left(edge, fields, kind.__struct_encode_fields__))


def left(edge: str, fields: Mapping[str, Any], used: Collection[str]) -> tuple[str, ...]:
    """The names of fields that are not used, have a value, and are not harmless."""
    harmless = _harmless(edge)
    return tuple(
        name for name, value in fields.items() if name not in used and value not in _EMPTY and name not in harmless
    )


def is_refused(edge: str, name: str) -> bool:
    """Whether the result would be wrong without that field."""
    own = edges()[edge]
    return name in own.refused or (own.like is not None and is_refused(own.like, name))


def ignoring(names: Iterable[str]) -> str:
    """The options that leave these names out, for a hint."""
    return " ".join(f"«--ignore {shlex.quote(plain(name, 200))}»" for name in names)


@cache
def _harmless(edge: str) -> frozenset[str]:
    own = edges()[edge]
    return frozenset(own.harmless) | (_harmless(own.like) if own.like else frozenset())


class Left:
    """Counts of what is left, by edge and name, with the first place of each."""

    def __init__(self) -> None:
        self.counts, self._first = Counter[tuple[str, str]](), dict[tuple[str, str], str]()

    def add(self, edge: str, names: Collection[str], place: str = "") -> None:
        for name in names:
            self.counts[edge, name] += 1
            self._first.setdefault((edge, name), place)

    @classmethod
    def of(cls, fields: Iterable[Mapping[str, Any]]) -> "Left":
        """What `fields` gave."""
        left = cls()
        for each in fields:
            left.counts[each["edge"], each["name"]] = each["count"]
            left._first[each["edge"], each["name"]] = each["first"] or ""
        return left

    def add_all(self, edges_and_names: Iterable[tuple[str, str]], place: str) -> None:
        for edge, name in edges_and_names:
            self.add(edge, [name], place)

    def update(self, other: "Left") -> None:
        self.counts.update(other.counts)
        self._first = {**other._first, **self._first}

    def sentences(self) -> Iterator[str]:
        """One for each edge: `not read: tool_calls of 12 messages, first in row 3`."""
        for edge in dict.fromkeys(edge for edge, _ in self.counts):
            names = [name for other, name in self.counts if other == edge]
            said = ", ".join(self._said(edge, name) for name in names[:_MAX_NAMED])
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            yield f"{edges()[edge].says or f'not read, of {edges()[edge].of}'}: {said}{more}"

    def _said(self, edge: str, name: str) -> str:
        count, place = self.counts[edge, name], self._first[edge, name]
        where = f"first in {place}" if count > 1 else f"in {place}"
        said = [f"{count} times"] * (count > 1) + [where] * bool(place)
        return plain(name, 60) + f" ({', '.join(said)})" * bool(said)

    def fields(self) -> list[dict[str, object]]:
        """For `--json`."""
        return [
            {"edge": edge, "name": name, "count": count, "first": self._first[edge, name] or None}
            for (edge, name), count in self.counts.items()
        ]
