"""Time lines of a trace's page: where in each clip, or on which pages of a document, the model looked, turn by turn."""

import re
from collections.abc import Sequence

import msgspec

from virc.reasoning.media import MediaPlace
from virc.reasoning.trace import Trace

WIDTH = 1000
"""Of a row, in units of its drawing."""


class Look(msgspec.Struct, frozen=True):
    """What was shown at first, or by the calls of a turn: `(x, label)` of each frame or page, x from 0 to `WIDTH`."""

    heading: str
    marks: Sequence[tuple[int, str]]


class TimeLine(msgspec.Struct, frozen=True):
    """The looks at one clip or document, and what its two ends are."""

    source: str
    looks: Sequence[Look]
    ends: tuple[str, str]


def time_lines(trace: Trace) -> list[TimeLine]:
    """Of each clip and document of a trace, in the order in which they were shown; the end is that of the file."""
    turns = [("At first", next((each.images for each in trace.messages if each.role == "user"), ()))]
    turns += [
        (str(at), tuple(i for each in unit.results for i in each.images)) for at, unit in enumerate(trace.units, 1)
    ]
    placed = [(heading, trace.images[index]) for heading, images in turns for index in images]
    shown = [(heading, record.index, record.place) for heading, record in placed if record.place]
    sources = dict.fromkeys(place.source for *_, place in shown)
    return [_time_line(source, [each for each in shown if each[2].source == source]) for source in sources]


def _time_line(source: str, shown: Sequence[tuple[str, int, MediaPlace]]) -> TimeLine:
    pages = [int(count) for *_, place in shown for count in re.findall(r" of (\d+)", place.line) if place.page]
    last = max([*pages, *(each for *_, place in shown for each in (_at(place), place.length or 0.0))])
    marks: dict[str, list[tuple[int, str]]] = {}
    for heading, index, place in shown:
        x = round(WIDTH * _at(place) / (last or 1))
        marks.setdefault(heading, []).append((x, f"Image {index}, {place.label}"))
    looks = [Look(heading, found) for heading, found in marks.items()]
    return TimeLine(source, looks, ("page 1", f"page {last:g}") if pages else ("0 s", f"{last:.4g} s"))


def _at(place: MediaPlace) -> float:
    return place.page or place.seconds or 0.0
