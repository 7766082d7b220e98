"""The rules that the rows of a file are checked against: above all, what their boxes mean."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain, islice
from typing import Literal

from virc.data.check import calls
from virc.data.check.images import sizes_shown
from virc.data.check.plain import is_plain
from virc.data.check.result import Rules
from virc.data.check.survey import FIRST
from virc.data.formats.registry import Row, Source
from virc.data.rows.record import inputs_of, size_of, system_of
from virc.models.chat_protocol import read_protocol
from virc.reasoning.images import SQUARE
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol

SURVEYED = 200
_NAMES: tuple[tuple[str, Coordinates], ...] = (("scale_fixed", "permille"), ("scale_dynamic", "pixel"))


def rules_for(
    source: Source, rows: Iterable[Row], given: Coordinates | Literal["auto"], protocol_given: Protocol | None = None
) -> tuple[Rules, str]:
    """The rules for a file, and why its boxes mean what they do.

    Args:
        rows: of the file; the first `SURVEYED` of them are read where nothing else says what boxes mean.
        given: what the user says boxes mean; with `auto` the chat protocol beside the file decides where it is that
            of the rows, then the file's name, then its boxes.
    """
    holds = source.holds
    rows = iter(rows)
    first = list(islice(rows, FIRST))
    protocol, beside = protocol_given, source.media / FILE_NAME
    if protocol is None and beside.is_file():
        protocol, record = read_protocol(beside), first[0].record if first else None
        # unless the file's first row has another system message
        has_system = record and record.messages and record.messages[0].role == "system"
        protocol = None if record and has_system and system_of(record) != protocol.system else protocol
    plain = protocol is None and holds == "solutions" and is_plain(row.record for row in first if row.record)
    names = f"{source.name} {source.file.name}"
    named = next((each for word, each in _NAMES if re.search(word, names)), None)
    found: tuple[Coordinates, str]
    if given != "auto":
        found = given, "as --coordinates says"
    elif protocol:
        found = protocol.coordinates, f"as {'the system' if protocol_given else FILE_NAME} says"
    elif named:
        found = named, "as its name says"
    elif holds == "problems":
        found = "pixel", "no boxes"
    else:
        found = _from_boxes(chain(first, rows))
    return Rules(holds, found[0], protocol, plain=plain), found[1]


def _from_boxes(rows: Iterable[Row]) -> tuple[Coordinates, str]:
    """What most of the first boxes can only be; where all may be either, what the size of the inputs suggests."""
    fits: Counter[tuple[bool, bool]] = Counter()
    square = inputs = 0
    for row in islice(rows, SURVEYED):
        if row.record and row.record.messages:
            files = [size_of(picture) for picture in row.record.images]
            fits.update(calls.boxes(row.record, sizes_shown(row.record, files, Rules("solutions"))))
            own = [files[index] for index in inputs_of(row.record) if index < len(files)]
            square, inputs = square + own.count(SQUARE), inputs + len(own)
    pixel, permille, boxes = fits[True, False], fits[False, True], sum(fits.values())
    if pixel != permille:
        least, most = sorted((pixel, permille))
        why = f"as {most} of the first {boxes} boxes fit nothing else, and {least} the other"
        return "pixel" if pixel > permille else "permille", why
    if boxes and 2 * square > inputs:
        return "permille", "the first boxes fit both, and most inputs are 1000 x 1000 px"
    return "pixel", "the first boxes fit both" if boxes else "no boxes in the first rows"
