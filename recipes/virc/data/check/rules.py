"""What the rows of a file are held against: above all, what their boxes mean."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain, islice
from typing import Literal

from virc.core.errors import DataError
from virc.data.check import calls
from virc.data.check.sizes import as_shown
from virc.data.check.verdict import Rules
from virc.data.formats.registry import Holds, Row, Source, get
from virc.data.rows.record import Picture, inputs_of
from virc.models.chat_protocol import read_protocol
from virc.reasoning.calls import Size
from virc.reasoning.images import SQUARE, image_size
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol

SURVEYED = 200
_NAMES: tuple[tuple[str, Coordinates], ...] = (("scale_fixed", "permille"), ("scale_dynamic", "pixel"))


def rules_for(
    source: Source,
    rows: Iterable[Row],
    asked: Coordinates | Literal["auto"],
    spoken: Protocol | None = None,
) -> tuple[Rules, str]:
    """The rules for a file, and why its boxes mean what they do.

    Args:
        rows: of the file; the first `SURVEYED` of them are looked at where nothing else tells.
        asked: what the user says; `auto` asks the chat protocol beside the file where it is that of the rows, then the
            file's name, then its boxes.
        spoken: the chat protocol of the rows, where the user says whose they are.

    Raises:
        ConfigError: the chat protocol beside the file cannot be read.
    """
    holds: Holds = get(source.format).HOLDS
    beside = source.media / FILE_NAME
    rows = iter(rows)
    first = next(rows, None)
    protocol = spoken or (_spoken(read_protocol(beside), first) if beside.is_file() else None)
    named = next(
        (each for word, each in _NAMES if re.search(word, f"{source.name} {source.file.name}")), None
    )
    coordinates: Coordinates
    if asked != "auto":
        coordinates, why = asked, "as --coordinates says"
    elif spoken:
        coordinates, why = spoken.coordinates, "as the system says"
    elif protocol:
        coordinates, why = protocol.coordinates, f"as {FILE_NAME} says"
    elif named:
        coordinates, why = named, "as its name says"
    elif holds == "problems":
        coordinates, why = "pixel", "no boxes"
    else:
        coordinates, why = _surveyed(chain([first] if first else [], rows))
    return Rules(holds, coordinates, protocol), why


def _spoken(protocol: Protocol, first: Row | None) -> Protocol | None:
    """The chat protocol beside a file, unless the file's first row has another system message: then it is of other
    rows.
    """
    messages = first.record.messages if first and first.record else ()
    other = messages and messages[0].role == "system" and messages[0].content != protocol.system
    return None if other else protocol


def _surveyed(rows: Iterable[Row]) -> tuple[Coordinates, str]:
    """What most of the first boxes can only be; where all may be either, what the size of the inputs hints at."""
    fits: Counter[tuple[bool, bool]] = Counter()
    square = inputs = 0
    for row in islice(rows, SURVEYED):
        if row.record and row.record.messages:
            files = [_size(picture) for picture in row.record.images]
            shown = as_shown(row.record, files, Rules("solutions"))
            fits.update(calls.boxes(row.record, shown))
            own = [files[index] for index in inputs_of(row.record) if index < len(files)]
            square, inputs = square + own.count(SQUARE), inputs + len(own)
    return _decided(fits[True, False], fits[False, True], sum(fits.values()), 2 * square > inputs)


def _decided(pixel: int, permille: int, boxes: int, square: bool) -> tuple[Coordinates, str]:
    if pixel != permille:
        chosen: Coordinates = "pixel" if pixel > permille else "permille"
        most, least = max(pixel, permille), min(pixel, permille)
        return chosen, f"as {most} of the first {boxes} boxes fit nothing else, and {least} the other"
    if boxes and square:
        return "permille", "the first boxes fit both, and most inputs are 1000 x 1000 px"
    return "pixel", "the first boxes fit both" if boxes else "no boxes in the first rows"


def _size(picture: Picture) -> Size | None:
    try:
        return image_size(picture.read(), "")
    except (OSError, DataError):
        return None
