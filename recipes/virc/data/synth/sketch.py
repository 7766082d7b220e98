"""Drawing of figures: the style of lines and labels, and polygons with whole angles.

Sizes are in px. `tiny` was trained on these drawings: the same seed must always draw the same.
"""

import math
import random
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeVar, cast

import msgspec
from PIL import Image, ImageDraw

from virc.data.synth.glyphs import Face, mask
from virc.data.synth.problem import Label, Point, Split, around, unit
from virc.reasoning.calls import Box

P = TypeVar("P")
"""A problem of any family; see `families.registry.Problem`."""


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
    """The first problem that can be drawn legibly (`make` gives None where it cannot) and is of that split."""
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
