"""Right answers that no answer can match: told by the value, the choices and the picture of a row, and by all rows.

What a row alone cannot tell, a file can: where some boxes leave their pictures and all are right as x, y, width and
height, they are that.
"""

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from string import ascii_uppercase
from typing import Any, NamedTuple

from virc.core.errors import DataError
from virc.core.text import counted, plain
from virc.reasoning.calls import Size
from virc.scoring.answers import choices_named
from virc.scoring.boxes import Box, area, flaw_of, reference_boxes

_USUAL = "left, top, right, bottom"
_SHAPES: Mapping[str, Callable[[float, float, float, float], Box]] = {
    _USUAL: lambda left, top, right, bottom: (left, top, right, bottom),
    "x, y, width, height": lambda x, y, width, height: (x, y, x + width, y + height),
    "centre x, centre y, width, height": lambda x, y, width, height: (
        x - width / 2, y - height / 2, x + width / 2, y + height / 2
    ),
    "top, left, bottom, right": lambda top, left, bottom, right: (left, top, right, bottom),
    "left, right, top, bottom": lambda left, right, top, bottom: (left, top, right, bottom),
    "right, bottom, left, top": lambda right, bottom, left, top: (left, top, right, bottom),
}  # fmt: skip
_UNITS = {"pixels": None, "shares of the sides": 1, "thousandths of the sides": 1000}
_AS_IT_IS = f"{_USUAL} in pixels"
_UNKNOWN_SIZE = (10**6, 10**6)
_FEW, _MANY = 3, 0.1
"""Rows that are wrong as they stand, and their share, from which on another reading of all is what may be meant."""


class Reference(NamedTuple):
    """How a right answer may be read.

    Args:
        kind: what it is: `boxes`, `choice` or `number`.
        readings: what it may be meant as, and how it is to be written then.
        flaw: why no answer can match it as it stands; empty where one can.
    """

    kind: str
    readings: Mapping[str, str]
    flaw: str = ""

    @property
    def hint(self) -> str:
        """How it is to be written, by each reading."""
        return "; ".join(f"as {name} it is {written}" for name, written in self.readings.items() if name != _AS_IT_IS)


def reference_of(fields: Mapping[str, Any], size: Callable[[], Size | None]) -> Reference | None:
    """The right answer of a row of the batch format; None where it is words, or there is none.

    Args:
        size: (width, height) in px of the first image's file, asked for where there are boxes; None: not known.

    Raises:
        DataError: its boxes are no lists of four numbers.
    """
    boxes = reference_boxes(fields)
    if boxes is not None:
        return _of_boxes(boxes, size()) if boxes else None
    given = [fields.get("answer"), *(fields.get("answers") or ())]
    answers = [str(each) for each in given if each is not None]
    if not answers:
        return None
    if choices := fields.get("choices"):
        return _of_choice(answers, [str(each) for each in choices])
    if fields.get("tolerance") is None and fields.get("decimals") is None:
        return next((_of_number(each) for each in answers if _narrow(each)), Reference("number", {_AS_IT_IS: ""}))
    return None


def _of_boxes(boxes: Sequence[Box], size: Size | None) -> Reference:
    known = size or _UNKNOWN_SIZE
    are_shares = all(max(box) <= 1 for box in boxes)
    readings, flaw = dict[str, str](), ""
    for unit, whole in _UNITS.items() if size else [("pixels", None)]:
        across, down = (side / whole if whole else 1.0 for side in known)
        for shape, corners in _SHAPES.items():
            sides = (corners(*box) for box in boxes)
            read = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in sides]
            wrong = next((at for at, box in enumerate(read) if flaw_of(box, known) or not area(box)), None)
            if wrong is None and are_shares == (whole == 1):
                readings[f"{shape} in {unit}"] = _written(read)
            elif not flaw and f"{shape} in {unit}" == _AS_IT_IS:
                why = "is in shares of the sides" if are_shares else flaw_of(read[wrong or 0], known) or "has no area"
                picture = " of {} x {} px".format(*known) if why.endswith("picture") and size else ""
                flaw = f"its box {_written([boxes[wrong or 0]])} {why}{picture}: boxes are {_AS_IT_IS} of the file"
    return Reference("boxes", readings, flaw)


def _written(boxes: Sequence[Box]) -> str:
    lists = [f"[{', '.join(f'{round(side, 2):.10g}' for side in box)}]" for box in boxes[:3]]
    return lists[0] if len(boxes) == 1 else f"[{', '.join(lists)}{', …' * (len(boxes) > len(lists))}]"


def _of_choice(answers: Sequence[str], choices: Sequence[str]) -> Reference | None:
    """Whether an answer names a choice, or may be the number of one; None where it is a text that is none of them."""
    lost = [each for each in answers if not choices_named(each, choices)]
    if len(lost) < len(answers):
        return Reference("choice", {_AS_IT_IS: ""})
    if not lost[0].strip().isdecimal():
        return None
    places = {f"the number of a choice from {first}": int(lost[0]) - first for first in (0, 1)}
    letters = {name: ascii_uppercase[at] for name, at in places.items() if 0 <= at < min(len(choices), 26)}
    return Reference("choice", letters, f"its answer {plain(lost[0], 40)!r} is none of its choices")


def _of_number(text: str) -> Reference:
    flaw = f"its answer {text} has 32 bits and the digits of 64"
    return Reference("number", {"a number of 32 bits": str(_narrow(text))}, flaw)


def _narrow(text: str) -> str | None:
    """The few digits of a number of 32 bits that was written with those of 64, as 3.7 of 3.700000047683716."""
    try:
        number = float(text)
        short = f"{number:.7g}"
        (read,) = struct.unpack("f", struct.pack("f", float(short)))
    except (ValueError, OverflowError):
        return None
    # a fraction of few bits, such as 1/1024, is as short as it can be
    is_noise = read == number != float(short) and Fraction(number).numerator.bit_length() > 16
    return short if is_noise and repr(number) == text.strip() else None


class References:
    """All right answers of a file: whether those that cannot be matched are right in another reading that fits all."""

    def __init__(self) -> None:
        self._of, self._wrong = Counter[str](), Counter[str]()
        self._fits: dict[str, Counter[str]] = {}
        self._first: dict[str, tuple[int, Reference]] = {}

    def add(self, row: int, found: Reference | None) -> None:
        """Count the reference of a row."""
        if found is None:
            return
        self._of[found.kind] += 1
        self._fits.setdefault(found.kind, Counter()).update([*found.readings])
        if found.flaw:
            self._wrong[found.kind] += 1
            self._first.setdefault(found.kind, (row, found))

    def conventions(self) -> dict[str, DataError]:
        """What all references of a kind may be meant as, where many cannot be matched as they stand."""
        found = {}
        for kind, (row, first) in self._first.items():
            of, wrong, fits = self._of[kind], self._wrong[kind], self._fits[kind]
            meant = [name for name in first.readings if name != _AS_IT_IS and fits[name] == of]
            in_pixels = [name for name in meant if name.endswith("pixels")]
            meant = in_pixels or [name for name in meant if name.startswith(_USUAL)] or meant
            if meant and (wrong == of or wrong >= max(_FEW, _MANY * of)):
                says = f"{wrong} of {of} right answers cannot be matched as they stand, and all can be read as"
                several = len(meant) > 1
                written = " or ".join(f"{first.readings[name]}{f' ({name})' * several}" for name in meant)
                drawn = "; virc data check FILE --draw DIR shows boxes" if kind == "boxes" else ""
                found[kind] = DataError(f"{says} {' or as '.join(meant)}", f"in line {row} write {written}{drawn}")
        return found

    def check(self) -> None:
        """Raise a DataError where a reference cannot be matched: what all of them may be meant as, or the first row."""
        found = self.conventions()
        for kind, (row, first) in self._first.items():
            more = f"; {counted(self._wrong[kind] - 1, 'more row')} like it" if self._wrong[kind] > 1 else ""
            raise found.get(kind) or DataError(f"line {row}: {first.flaw}{more}", first.hint or None)
