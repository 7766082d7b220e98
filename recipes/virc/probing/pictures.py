"""The pictures that a probe sends, and what a model says of them."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.reasoning.coordinates import corners_of
from virc.reasoning.protocol import BoxForm, Coordinates

LARGE = (2240, 1120)
"""Sides in pixels of the picture with the rectangle: on the grids of 28 and 32, over the limits of common servers."""
SMALL = (288, 288)
"""Sides in pixels of the others: a little over the least area that the usual processors leave as it is."""
TARGET = (1400, 210, 1960, 490)
"""The rectangle in pixels: in no two units, and at no scale, are its numbers alike."""
PALETTE = {"red": (220, 20, 20), "blue": (20, 40, 220), "green": (20, 160, 40), "grey": (128, 128, 128)}
FIRST, SECOND, LAST, OTHERS = "red", "blue", "green", "grey"

_MIN_OVERLAP = 0.6
_UNCHANGED = 0.97
_FARTHEST = 1e6
COMMON = (
    448, 500, 512, 560, 640, 672, 768, 896, 1000, 1024, 1120, 1280, 1344, 1536, 1568, 1600, 1792, 2000, 2048,
)  # fmt: skip
"""Sides in pixels that servers scale pictures down to."""
_NEAR = 0.02

_NUMBER, _BETWEEN = r"(-?\d{1,9}(?:\.\d{1,9})?)", r"(?:\s*,\s*|\s+)"
_BOXES = re.compile(
    rf"[\[(>]\s*{_NUMBER}{_BETWEEN}{_NUMBER}\s*(?:[\])]{_BETWEEN}[\[(]\s*|{_BETWEEN})"
    rf"{_NUMBER}{_BETWEEN}{_NUMBER}\s*[\])<]"
)
_MOST_CHARACTERS = 5000


class Counted(msgspec.Struct, frozen=True):
    """How a box is counted.

    Args:
        coordinates, box: as in `Protocol`.
        scale: of pixels, how many times as long the sides were of the picture that the model saw; 1: as it was sent.
        overlap: intersection over union with the rectangle, counted so.
    """

    coordinates: Coordinates
    box: BoxForm
    scale: float
    overlap: float


def large() -> Image.Image:
    from PIL import ImageDraw  # with FreeType: 15 ms

    picture = Image.new("RGB", LARGE, "white")
    left, top, right, bottom = TARGET
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=PALETTE["red"])
    return picture


def small(color: str) -> Image.Image:
    return Image.new("RGB", SMALL, PALETTE[color])


def counted(box: Any) -> Counted | None:
    """How a box around the rectangle is counted, whatever a model wrote as one; None where it fits in no way."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(type(side) in (int, float) and -_FARTHEST <= side <= _FARTHEST for side in box):
        return None
    forms: tuple[BoxForm, ...] = ("corners", "corners_yx")
    ways = [way for form in forms for way in _ways(corners_of(box, form), form)]
    best = max(ways, key=lambda way: way.overlap)
    return best if best.overlap >= _MIN_OVERLAP else None


def _ways(box: Sequence[float], form: BoxForm) -> list[Counted]:
    ways = []
    units: tuple[tuple[Coordinates, int], ...] = (("thousand", 1000), ("unit", 1))
    for unit, whole in units:
        written = [side * size / whole for side, size in zip(box, LARGE * 2, strict=True)]
        ways.append(Counted(unit, form, 1, _overlap(written, 1)))
    scale = sum(a * b for a, b in zip(box, TARGET, strict=True)) / sum(side * side for side in TARGET)
    if 0 < scale <= _UNCHANGED:
        ways.append(Counted("pixel", form, scale, _overlap(box, scale)))
    return [Counted("pixel", form, 1, _overlap(box, 1)), *ways]


def _overlap(box: Sequence[float], scale: float) -> float:
    target = [side * scale for side in TARGET]
    wide = min(box[2], target[2]) - max(box[0], target[0])
    high = min(box[3], target[3]) - max(box[1], target[1])
    areas = sum(max(0, each[2] - each[0]) * max(0, each[3] - each[1]) for each in (box, target))
    shared = max(0, wide) * max(0, high)
    return shared / (areas - shared) if areas > shared else 0


def numbers(text: str) -> list[float] | None:
    """The last four numbers in brackets of a text, or in two pairs of them: a box that was given in words."""
    found = _BOXES.findall(text[-_MOST_CHARACTERS:])
    return [float(each) for each in found[-1]] if found else None


def colors(text: str) -> list[str]:
    known = "|".join(PALETTE)
    return re.findall(rf"\b(?:{known}|gray)\b", text.lower())


def misplaced(named: list[str], wanted: list[str]) -> bool:
    """Whether a colour was named of another picture than it was sent as, and not of its own."""
    found = dict(zip(wanted, named, strict=False))
    return len(named) == len(wanted) and any(color in named and found[color] != color for color in wanted)


def longest(scale: float, near: float = _NEAR) -> int:
    """The longest side in pixels to which the large picture was scaled: a common one where one is near."""
    side = LARGE[0] * scale
    common = min(COMMON, key=lambda each: abs(each - side))
    return common if abs(common - side) <= near * side else int(side)
