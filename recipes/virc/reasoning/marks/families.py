"""Marks that model families write around turns, thoughts, calls and answers: `families.yaml`, for all who read replies.

A mark that is added there is known to the strict and the tolerant reader, to streams and to all that prints, scores or
sends answers. Patterns of marks are compiled when the first reply is read: commands without one need none.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from virc.config import yaml as plain_yaml

Kind = Literal[
    "ends", "last", "attached", "roles", "others", "own", "fillers", "thoughts", "first_thoughts", "answers", "alone",
    "boxes", "calls", "sections", "inputs", "places",
]  # fmt: skip
Pair = tuple[str, str]
_BETWEEN_BARS = re.compile(r"[<\[][|｜](.+)[|｜][>\]]")


@cache
def families() -> Mapping[str, Mapping[Kind, tuple[str | Pair, ...]]]:
    """Family -> kind of marks -> those that it writes."""
    content = plain_yaml.read_mapping(Path(__file__).with_suffix(".yaml"))
    return msgspec.convert(content, dict[str, dict[Kind, tuple[str | Pair, ...]]])


@cache
def all_of(*kinds: Kind, family: str | None = None) -> tuple[str, ...]:
    """The marks of some kinds, of one family or of all, each once; of pairs, both."""
    read = [families()[family]] if family else families().values()
    listed = (mark for kind in kinds for marks in read for mark in marks.get(kind, ()))
    return (*dict.fromkeys(mark for each in listed for mark in ([each] if isinstance(each, str) else each) if mark),)


def pairs_of(kind: Kind) -> list[Pair]:
    """The pairs of one kind, of all families, each once."""
    listed = (mark for marks in families().values() for mark in marks.get(kind, ()))
    return [*dict.fromkeys(each for each in listed if isinstance(each, tuple))]


@cache
def names_of(*kinds: Kind) -> str:
    """A pattern of the names of some kinds."""
    return "|".join(all_of(*kinds))


def pattern(marks: Iterable[str]) -> str:
    """A pattern of marks, in all ways in which they are spelt."""
    names, others = list[str](), list[str]()
    for mark in marks:
        between = _BETWEEN_BARS.fullmatch(mark)
        (names if between else others).append(_spelt(between[1] if between else mark, bool(between)))
    return "|".join((*([rf"[<\[][|｜](?:{'|'.join(names)})[|｜][>\]]"] if names else []), *others))


@cache
def begins() -> str:
    """A pattern of what any mark begins with; a search for marks that begins with it is faster."""
    marks = all_of("ends", "last", "attached", "roles", "others", "own", "fillers", "thoughts", "calls", "inputs")
    return f"(?=[{re.escape(''.join(sorted({mark[0] for mark in marks})))}])"


def _spelt(mark: str, is_between_bars: bool) -> str:
    escaped = re.escape(mark).replace(r"\#", r"\d+").replace(r"\*", r"\w{0,24}")
    return escaped.replace("_", "[_▁]") if is_between_bars else escaped
