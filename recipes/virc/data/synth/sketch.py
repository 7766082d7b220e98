"""Drawing of figures: faces and labels, the style of lines, and polygons with whole angles.

Sizes are in px. Labels are drawn in Pillow's own sans face, or in a plotter face whose strokes are defined here: a font
file of the machine would make the same seed draw another picture elsewhere, and `tiny` was trained on these drawings.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, TypeVar, cast

import msgspec
from PIL import Image, ImageDraw, ImageFont

from virc.data.synth.problem import Label, Point, Split, around, unit
from virc.reasoning.calls import Box

P = TypeVar("P")
"""A problem of any family; see `families.registry.Problem`."""

# Strokes on a 4 x 6 grid (x right, y down), polylines separated by spaces, one digit pair per point.
_STROKES = {
    "0": "10 30 41 45 36 16 05 01 10", "1": "02 20 26", "2": "01 10 30 41 42 06 46",
    "3": "00 40 23 33 44 45 36 16 05",
    "4": "36 30 04 44", "5": "40 00 02 32 43 45 36 06", "6": "40 20 03 05 16 36 45 44 33 03", "7": "00 40 16",
    "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33", "9": "43 13 02 01 10 30 41 43 26 16",
    "?": "01 10 30 41 42 23 24|26 26",
    "A": "06 20 46|14 34", "B": "00 30 41 42 33 03|33 44 45 36 06 00", "C": "41 30 10 01 05 16 36 45",
    "D": "00 20 42 44 26 06 00", "E": "40 00 06 46|03 33", "F": "40 00 06|03 33", "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06|40 46|03 43", "J": "40 45 36 16 05", "K": "00 06|40 03 46", "L": "00 06 46", "M": "06 00 23 40 46",
    "N": "06 00 46 40", "P": "06 00 30 41 42 33 03", "Q": "10 30 41 45 36 16 05 01 10|24 46",
    "R": "06 00 30 41 42 33 03|23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05", "T": "00 40|20 26", "U": "00 05 16 36 45 40", "V": "00 26 40",
    "W": "00 16 23 36 40", "X": "00 46|40 06", "Y": "00 23 40|23 26", "Z": "00 40 06 46", "°": "10 20 21 11 10",
    "x": "02 46|06 42", "y": "02 24|42 06", "n": "02 06|03 12 32 43 46", "+": "04 44|22 26", "-": "04 44",
    "(": "30 12 14 36", ")": "10 32 34 16", ".": "26 26", " ": "",
}  # fmt: skip
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
SUPER = 4  # labels are drawn this much larger and reduced, so that strokes have smooth edges
_font = lru_cache(maxsize=64)(ImageFont.load_default)


class Face(msgspec.Struct, frozen=True):
    """The face of labels: `size` is the height of a capital in px; `slant` leans to the right, in px a px of height."""

    kind: str = "sans"
    size: int = 13
    bold: bool = False
    slant: float = 0.0


@lru_cache(maxsize=4096)
def mask(text: str, face: Face) -> Image.Image:
    """The text as a tight 8-bit mask (255 is ink), in px."""
    large = _plotted(text, face) if face.kind == "plotter" else _printed(text, face)
    if face.slant:
        lean = math.ceil(face.slant * large.height)
        matrix = (1, face.slant, -lean, 0, 1, 0)
        size = (large.width + lean, large.height)
        large = large.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    box = large.getbbox()
    tight = large.crop(box) if box else large
    return tight.resize((max(1, round(tight.width / SUPER)), max(1, round(tight.height / SUPER))), Image.Resampling.BOX)


def _printed(text: str, face: Face) -> Image.Image:
    font = _font(round(face.size * SUPER / 0.7))  # a capital of this face is 0.7 of its nominal size
    stroke = SUPER // 2 if face.bold else 0
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    large = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
    ImageDraw.Draw(large).text((2 - left, 2 - top), text, fill=255, font=font, stroke_width=stroke)
    return large


def _plotted(text: str, face: Face) -> Image.Image:
    unit = face.size * SUPER / 6
    pen = SUPER * (2.2 if face.bold else 1.4)
    large = Image.new("L", (math.ceil(len(text) * 5.6 * unit + 2 * pen), math.ceil(6 * unit + 2 * pen)))
    pencil = ImageDraw.Draw(large)
    for place, letter in enumerate(text):
        for line in filter(None, _STROKES[letter].split("|")):
            points = [
                (pen + (int(x) + 5.6 * place) * unit * 0.9, pen + int(y) * unit) for x, y in map(tuple, line.split())
            ]
            pencil.line(points, fill=255, width=round(pen), joint="curve")
            for x, y in (points[0], points[-1]):
                pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return large


class Style(msgspec.Struct, frozen=True):
    """How a diagram is drawn: face of the labels, line width in px, dashes, degree signs, shades of grey (0..255)."""

    face: Face
    line: int
    dashed: bool
    degrees: bool
    arcs: bool
    ink: int
    paper: int


def random_style(rng: random.Random) -> Style:
    face = Face(
        kind=rng.choice(("sans", "sans", "plotter")),
        size=rng.choice((11, 12, 13, 14)),
        bold=rng.random() < 0.3,
        slant=rng.choice((0.0, 0.0, 0.2)),
    )
    return Style(
        face=face,
        line=rng.choice((1, 1, 2)),
        dashed=rng.random() < 0.15,
        degrees=rng.random() < 0.4,
        arcs=rng.random() < 0.3,
        ink=rng.choice((0, 0, 40, 80)),
        paper=rng.choice((255, 255, 255, 245)),
    )


def polygon(rng: random.Random, sides: int, width: int, height: int) -> list[Point] | None:
    """Corners of a convex polygon, counted clockwise on the page; None where the draw is too thin or not convex."""
    margin = 30
    points = [(rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)) for _ in range(sides)]
    middle = (sum(x for x, _ in points) / sides, sum(y for _, y in points) / sides)
    points.sort(key=lambda p: math.atan2(p[1] - middle[1], p[0] - middle[0]))
    if min(math.dist(one, other) for one, other in combinations(points, 2)) < 72:
        return None
    start = rng.randrange(sides)
    return points[start:] + points[:start]


def angles(points: Sequence[Point]) -> list[int] | None:
    """Whole degrees with the exact sum; None for a reflex, nearly straight or very sharp corner."""
    count = len(points)
    exact = []
    for i, (x, y) in enumerate(points):
        before, after = points[i - 1], points[(i + 1) % count]
        turn = math.atan2(before[1] - y, before[0] - x) - math.atan2(after[1] - y, after[0] - x)
        exact.append(math.degrees(turn) % 360)
    if min(exact) < 24 or max(exact) > 150:
        return None
    whole = [round(angle) for angle in exact]
    whole[0] += 180 * (count - 2) - sum(whole)
    return whole


def line(pencil: ImageDraw.ImageDraw, start: Point, end: Point, style: Style) -> None:
    if not style.dashed:
        pencil.line((start, end), fill=style.ink, width=style.line)
        return
    length = math.dist(start, end)
    along = unit(start, end)
    for at in range(0, int(length), 10):
        stop = min(at + 6, length)
        ends = [(start[0] + far * along[0], start[1] + far * along[1]) for far in (at, stop)]
        pencil.line(ends, fill=style.ink, width=style.line)


def arc(pencil: ImageDraw.ImageDraw, points: Sequence[Point], index: int, style: Style) -> None:
    """The arc of 9 px inside the corner of that index."""
    (x, y), before, after = points[index], points[index - 1], points[(index + 1) % len(points)]
    start = math.degrees(math.atan2(after[1] - y, after[0] - x))
    end = math.degrees(math.atan2(before[1] - y, before[0] - x))
    pencil.arc((x - 9, y - 9, x + 9, y + 9), start, end, fill=style.ink)


def label(image: Image.Image, text: str, box: Box, style: Style) -> None:
    image.paste(style.ink, (box[0], box[1]), mask(text, style.face))


def draw_until_legible(make: Callable[[], P | None], split: Split) -> P:
    while True:
        problem: Any = make()
        if problem is not None and problem.split() == split:
            return cast(P, problem)


def blank(width: int, height: int, style: Style) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty page of that size in px, and the pencil to draw on it."""
    image = Image.new("L", (width, height), style.paper)
    return image, ImageDraw.Draw(image)


def placed(text: str, middle: Point, style: Style) -> Label:
    return Label(text, around(middle, mask(text, style.face).size))
