"""Finds right answers, and boxes of where they are seen, that no answer can match, and what they may be meant as.

`references_of` checks a row: its boxes against its picture, and its answer against its choices. `References` collects
the rows of a file and proposes a reading that fits all of them: where some boxes leave their pictures, and all fit as
x, y, width and height, the file means that.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from string import ascii_uppercase
from typing import Any, NamedTuple

from virc.core.errors import DataError
from virc.core.text import counted, plain
from virc.reasoning.calls import Size
from virc.scoring.answers import choices_named
from virc.scoring.boxes import Box, area, boxes_of_row, flaw_of, further_boxes, reference_boxes

_USUAL, _Y_FIRST = "left, top, right, bottom", "top, left, bottom, right"
_SHAPES: Mapping[str, Callable[[float, float, float, float], Box]] = {
    _USUAL: lambda left, top, right, bottom: (left, top, right, bottom),
    "x, y, width, height": lambda x, y, width, height: (x, y, x + width, y + height),
    "centre x, centre y, width, height": lambda x, y, width, height: (
        x - width / 2, y - height / 2, x + width / 2, y + height / 2
    ),
    _Y_FIRST: lambda top, left, bottom, right: (left, top, right, bottom),
    "left, right, top, bottom": lambda left, right, top, bottom: (left, top, right, bottom),
    "right, bottom, left, top": lambda right, bottom, left, top: (left, top, right, bottom),
}  # fmt: skip
_UNITS = {"pixels": None, "shares of the sides": 1, "thousandths of the sides": 1000}
_COUNTED = {"evidence": "rows' boxes of evidence", "looks": "rows' looks"}
_AS_IT_IS = f"{_USUAL} in pixels"
_UNKNOWN_SIZE = (10**6, 10**6)
_FEW, _MANY = 3, 0.1
"""The number and the share of wrong rows from which on a reading that fits all rows is proposed."""


class Reference(NamedTuple):
    """How a right answer may be read.

    Args:
        kind: what it is: `boxes`, `choice` or `number`; `evidence`, boxes in addition to another answer, or `looks`.
        readings: name of a reading -> what to write in place of the answer, or of the wrong box, if it is meant so.
        flaw: why no answer can match it as it stands; empty if one can.
    """

    kind: str
    readings: Mapping[str, str]
    flaw: str = ""


def references_of(fields: Mapping[str, Any], size: Callable[[], Size | None]) -> list[Reference]:
    """How the right answer of a row of the batch format may be read, and the boxes where it is seen.

    Args:
        size: (width, height) in px of the first image's file, asked for where there are boxes; None: not known.
    """
    found: list[Reference] = []
    looks = partial(further_boxes, name="looks")
    for kind, read in (("boxes", reference_boxes), ("evidence", boxes_of_row), ("looks", looks)):
        try:
            boxes = None if kind == "evidence" and found else read(fields)
            found += [_of_boxes(kind, boxes, size())] if boxes else []
        except DataError as error:
            found.append(Reference(kind, {}, "; ".join(filter(None, (error.message, error.hint)))))
    answers = [str(each) for each in (fields.get("answer"), *(fields.get("answers") or ())) if each is not None]
    if not answers or any(each.kind == "boxes" for each in found):
        return found
    if choices := fields.get("choices"):
        return [*found, _of_choice(answers, [str(each) for each in choices])]
    if fields.get("tolerance") is not None or fields.get("decimals") is not None:
        return found
    text, short = next(((each, digits) for each in answers if (digits := _digits_of_32_bits(each))), ("", ""))
    flaw = f"its answer {text} has 32 bits and the digits of 64; write {short}" if short else ""
    return [*found, Reference("number", {"a number of 32 bits" if short else _AS_IT_IS: short}, flaw)]


def _of_boxes(kind: str, boxes: Sequence[Box], size: Size | None) -> Reference:
    """How boxes may be read: each reading is a shape and a unit in which all of them fit the picture."""
    max_size = size or _UNKNOWN_SIZE

    def fits(box: Box) -> bool:
        return flaw_of(box, max_size) is None and (kind != "boxes" or area(box) > 0)  # what is seen may be a point

    are_shares = all(max(box) <= 1 for box in boxes)
    wrong_index = next((at for at, box in enumerate(boxes) if not fits(box)), 0)  # the box that is named
    readings = {}
    for unit, per_side in _UNITS.items() if size else [("pixels", None)]:
        across, down = (side / per_side if per_side else 1.0 for side in max_size)
        for shape, corners in _SHAPES.items():
            sides = (corners(*box) for box in boxes)
            read = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in sides]
            if are_shares == (per_side == 1) and all(map(fits, read)):
                readings[f"{shape} in {unit}"] = _written(read[wrong_index])
    if _AS_IT_IS in readings:
        return Reference(kind, readings)
    why = "is in shares of the sides" if are_shares else flaw_of(boxes[wrong_index], max_size) or "has no area"
    if size and why.endswith("picture"):
        why += f" of {size[0]} x {size[1]} px"
    meant = "".join(f"; as {name} it is {box}" for name, box in readings.items())
    name = "look" if kind == "looks" else "box"
    return Reference(kind, readings, f"its {name} {_written(boxes[wrong_index])} {why}, not {_AS_IT_IS}{meant}")


def _written(box: Box) -> str:
    return f"[{', '.join(f'{round(side, 2):.10g}' for side in box)}]"


def _of_choice(answers: Sequence[str], choices: Sequence[str]) -> Reference:
    if any(choices_named(each, choices) for each in answers):
        return Reference("choice", {_AS_IT_IS: ""})
    number = int(answers[0]) if answers[0].strip().isdecimal() else -1
    places = {f"the number of a choice from {first}": number - first for first in (0, 1)}
    letters = {name: ascii_uppercase[at] for name, at in places.items() if 0 <= at < min(len(choices), 26)}
    meant = "".join(f"; as {name} it is {letter}" for name, letter in letters.items())
    return Reference("choice", letters, f"its answer {plain(answers[0], 40)!r} is none of its choices{meant}")


def _digits_of_32_bits(text: str) -> str | None:
    """The few digits of a number of 32 bits that was written with those of 64, as 3.7 of 3.700000047683716."""
    try:
        number = float(text)
        short = f"{number:.7g}"
        (in_32_bits,) = struct.unpack("f", struct.pack("f", float(short)))
    except (ValueError, OverflowError):
        return None
    has_other_digits = in_32_bits == number and float(short) != number
    is_few_bits = Fraction(number).numerator.bit_length() <= 16  # such as 1/1024, which needs all its digits
    return short if has_other_digits and not is_few_bits and repr(number) == text.strip() else None


class References:
    """All right answers of a file. If many cannot be matched, they may be meant in another reading that fits all."""

    def __init__(self) -> None:
        self._rows, self._wrong, self._fits = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
        self._first: dict[str, tuple[int, Reference]] = {}

    def add(self, row: int, references: Iterable[Reference]) -> None:
        for found in references:
            self._rows[found.kind] += 1
            self._fits.update((found.kind, name) for name in found.readings)
            if found.flaw:
                self._wrong[found.kind] += 1
                self._first.setdefault(found.kind, (row, found))

    def conventions(self) -> dict[str, DataError]:
        """What all references of a kind may be meant as, if many cannot be matched as they stand."""
        found = {}
        for kind, (row, first) in self._first.items():
            of, wrong = self._rows[kind], self._wrong[kind]
            fitting = [name for name in first.readings if self._fits[kind, name] == of]
            in_pixels = [name for name in fitting if name.endswith("pixels")]
            in_usual_order = [name for name in fitting if name.startswith((_USUAL, _Y_FIRST))]
            likely = in_pixels or in_usual_order or fitting
            if not likely or (wrong < of and wrong < max(_FEW, _MANY * of)):
                continue
            counted_so = f"{wrong} of {of} {_COUNTED.get(kind, 'right answers')}"
            says = f"{counted_so} cannot be matched as they stand, and all can be read as {' or as '.join(likely)}"
            texts = [f"{first.readings[name]} ({name})" if len(likely) > 1 else first.readings[name] for name in likely]
            drawn = "; virc data check FILE --draw DIR shows boxes" if kind in ("boxes", "evidence") else ""
            found[kind] = DataError(says, f"in line {row} write {' or '.join(texts)}{drawn}")
        return found

    def check(self) -> None:
        conventions = self.conventions()
        for kind, (row, first) in self._first.items():
            more = f"; {counted(self._wrong[kind] - 1, 'more row')} like it" if self._wrong[kind] > 1 else ""
            raise conventions.get(kind) or DataError(f"line {row}: {first.flaw}{more}")
