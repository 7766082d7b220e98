"""Synthetic geometry: polygons with named corners and angle values to be read, drawn from a seed.

One `Diagram` knows its picture, its question, the exact boxes of its labels and the trajectory that solves it.
Every corner carries its name outside the figure and its angle inside; one angle is `?`. The question asks for that
one (to be computed from the angle sum) or, in one of five, for one that is printed.
"""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Literal

import msgspec
from PIL import Image, ImageDraw

from virc_recipes.data.glyphs import Face, mask
from virc_recipes.data.plane import Point, around, inside, meet, unit
from virc_recipes.tools.base import Box

Split = Literal["train", "heldout"]
NAMES = "ABCDEFGHKLMPQRXY"
FIGURES = {3: "triangle", 4: "quadrilateral"}
QUESTIONS = (
    "In {figure} {name}, find m∠{corner}.",
    "Find the measure of angle {corner} in {figure} {name}.",
    "What is m∠{corner} in {figure} {name}?",
    "How large is angle {corner}?",
    "Find angle {corner}.",
)
CROP = 84  # px, a whole label fits in a crop of this side
GRID = 14  # px, crops start on this grid


class Look(msgspec.Struct, frozen=True):
    """How a diagram is drawn: face of the labels, line width in px, dashes, degree signs, shades of grey (0..255)."""

    face: Face
    line: int
    dashed: bool
    degrees: bool
    arcs: bool
    ink: int
    paper: int


class Corner(msgspec.Struct, frozen=True):
    """A corner: its letter, true angle in degrees, what is printed there, and label boxes in px."""

    letter: str
    angle: int
    printed: str
    point: Point
    letter_box: Box
    value_box: Box

    @property
    def box(self) -> Box:
        """The smallest box that holds both labels."""
        a, b = self.letter_box, self.value_box
        return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


class Diagram(msgspec.Struct, frozen=True):
    """One problem. `corners` run around the figure; `asked` indexes the corner the question is about."""

    width: int
    height: int
    corners: tuple[Corner, ...]
    asked: int
    question: str
    look: Look

    @property
    def answer(self) -> int:
        """The asked angle in degrees."""
        return self.corners[self.asked].angle

    def reading_order(self) -> Sequence[Corner]:
        """Corners as a reader meets them: left to right by their crops, then top to bottom."""
        return sorted(self.corners, key=lambda corner: crop_of(corner, self.width, self.height))

    def split(self) -> Split:
        """Which split this figure belongs to: one in ten is held out, wherever its corners begin to be counted."""
        around = [f"{corner.letter}{corner.printed}" for corner in self.corners]
        start = around.index(min(around))
        key = [*around[start:], *around[:start], self.corners[self.asked].letter]
        return "heldout" if hashlib.sha256("|".join(key).encode()).digest()[0] % 10 == 0 else "train"


def generate(rng: random.Random, split: Split = "train", sides: Sequence[int] = (3, 3, 4)) -> Diagram:
    """Choose a number of sides, then draw figures until one is legible and falls in the wanted split."""
    count = rng.choice(sides)
    while True:
        diagram = _generate(rng, count)
        if diagram is not None and diagram.split() == split:
            return diagram


def twin(diagram: Diagram, rng: random.Random) -> Diagram:
    """The same figure and question with other values printed, so that the asked angle is another one (D16)."""
    count = len(diagram.corners)
    while True:
        angles = [rng.randint(25, 140) for _ in range(count - 1)]
        angles.append(180 * (count - 2) - sum(angles))
        if 25 <= angles[-1] <= 140 and angles[diagram.asked] != diagram.answer:
            break
    points = [corner.point for corner in diagram.corners]
    corners = tuple(
        _corner(points, index, corner.letter, angles[index], corner.printed == "?", diagram.look)
        for index, corner in enumerate(diagram.corners)
    )
    return msgspec.structs.replace(diagram, corners=corners)


def crop_of(corner: Corner, width: int, height: int) -> Box:
    """The box a careful reader cuts for a corner: around both its labels."""
    return crop_around(corner.box, width, height)


def crop_around(label: Box, width: int, height: int) -> Box:
    """CROP px a side around a label, on the GRID, inside a page of that size."""
    left, top, right, bottom = label
    x = round(((left + right) / 2 - CROP / 2) / GRID) * GRID
    y = round(((top + bottom) / 2 - CROP / 2) / GRID) * GRID
    x, y = max(0, min(width - CROP, x)), max(0, min(height - CROP, y))
    return x, y, x + CROP, y + CROP


def draw(diagram: Diagram) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    look = diagram.look
    image = Image.new("L", (diagram.width, diagram.height), look.paper)
    pencil = ImageDraw.Draw(image)
    points = [corner.point for corner in diagram.corners]
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        _line(pencil, start, end, look)
    if look.arcs:
        for index in range(len(points)):
            _arc(pencil, points, index, look)
    for corner in diagram.corners:
        _label(image, corner.letter, corner.letter_box, look)
        _label(image, _shown(corner.printed, look), corner.value_box, look)
    return image.convert("RGB")


def _generate(rng: random.Random, sides: int) -> Diagram | None:
    width, height = rng.choice((196, 224, 252)), rng.choice((196, 224, 252))
    points = _polygon(rng, sides, width, height)
    if points is None:
        return None
    angles = _angles(points)
    if angles is None:
        return None
    look = random_look(rng)
    letters = rng.sample(NAMES, sides)
    hidden = rng.randrange(sides)
    corners = tuple(
        _corner(points, index, letters[index], angles[index], index == hidden, look) for index in range(sides)
    )
    if not _legible(corners, width, height):
        return None
    asked = hidden if rng.random() < 0.8 else rng.choice([i for i in range(sides) if i != hidden])
    question = _question(rng, corners, asked)
    return Diagram(width, height, corners, asked, question, look)


def _polygon(rng: random.Random, sides: int, width: int, height: int) -> list[Point] | None:
    """Corners of a convex polygon, counted clockwise on the page; None where the draw is too thin or not convex."""
    margin = 30
    points = [
        (rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)) for _ in range(sides)
    ]
    middle = (sum(x for x, _ in points) / sides, sum(y for _, y in points) / sides)
    points.sort(key=lambda p: math.atan2(p[1] - middle[1], p[0] - middle[0]))
    apart = min(math.dist(points[i], points[j]) for i in range(sides) for j in range(i))
    if apart < 72:
        return None
    start = rng.randrange(sides)
    return points[start:] + points[:start]


def _angles(points: Sequence[Point]) -> list[int] | None:
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


def random_look(rng: random.Random) -> Look:
    """How one diagram is drawn."""
    face = Face(
        kind=rng.choice(("sans", "sans", "plotter")),
        size=rng.choice((11, 12, 13, 14)),
        bold=rng.random() < 0.3,
        slant=rng.choice((0.0, 0.0, 0.2)),
    )
    return Look(
        face=face,
        line=rng.choice((1, 1, 2)),
        dashed=rng.random() < 0.15,
        degrees=rng.random() < 0.4,
        arcs=rng.random() < 0.3,
        ink=rng.choice((0, 0, 40, 80)),
        paper=rng.choice((255, 255, 255, 245)),
    )


def _corner(points: Sequence[Point], index: int, letter: str, angle: int, hidden: bool, look: Look) -> Corner:
    """Place the letter outside along the bisector and the value inside."""
    (x, y), before, after = points[index], points[index - 1], points[(index + 1) % len(points)]
    one, two = unit((x, y), before), unit((x, y), after)
    inward = unit((0, 0), (one[0] + two[0], one[1] + two[1]))
    printed = "?" if hidden else str(angle)
    name_size = mask(letter, look.face).size
    value_size = mask(_shown(printed, look), look.face).size
    # A sharp corner leaves room for its value only further in; half of it is what the bisector makes with a side.
    half = math.acos(max(-1.0, min(1.0, inward[0] * one[0] + inward[1] * one[1])))
    depth = 8 + 0.35 * math.hypot(*value_size) / math.sin(half)
    return Corner(
        letter=letter,
        angle=angle,
        printed=printed,
        point=(x, y),
        letter_box=around((x - 12 * inward[0], y - 12 * inward[1]), name_size),
        value_box=around((x + min(depth, 34) * inward[0], y + min(depth, 34) * inward[1]), value_size),
    )


def _legible(corners: Sequence[Corner], width: int, height: int) -> bool:
    """No label leaves the page or meets another, and each corner's labels fit in its crop."""
    boxes = [box for corner in corners for box in (corner.letter_box, corner.value_box)]
    if any(b[0] < 1 or b[1] < 1 or b[2] > width - 1 or b[3] > height - 1 for b in boxes):
        return False
    if any(meet(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i)):
        return False
    crops = [crop_of(corner, width, height) for corner in corners]
    if len(set(crops)) < len(crops):
        return False
    return all(inside(corner.box, crop) for corner, crop in zip(corners, crops, strict=True))


def _question(rng: random.Random, corners: Sequence[Corner], asked: int) -> str:
    """The question names the figure in most cases; the name starts anywhere and runs either way around."""
    start, step = rng.randrange(len(corners)), rng.choice((1, -1))
    name = "".join(corners[(start + step * i) % len(corners)].letter for i in range(len(corners)))
    return rng.choice(QUESTIONS).format(figure=FIGURES[len(corners)], name=name, corner=corners[asked].letter)


def _shown(printed: str, look: Look) -> str:
    return f"{printed}°" if look.degrees and printed != "?" else printed


def _line(pencil: ImageDraw.ImageDraw, start: Point, end: Point, look: Look) -> None:
    if not look.dashed:
        pencil.line((start, end), fill=look.ink, width=look.line)
        return
    length = math.dist(start, end)
    along = unit(start, end)
    for at in range(0, int(length), 10):
        stop = min(at + 6, length)
        pencil.line(
            (
                start[0] + at * along[0],
                start[1] + at * along[1],
                start[0] + stop * along[0],
                start[1] + stop * along[1],
            ),
            fill=look.ink,
            width=look.line,
        )


def _arc(pencil: ImageDraw.ImageDraw, points: Sequence[Point], index: int, look: Look) -> None:
    (x, y), before, after = points[index], points[index - 1], points[(index + 1) % len(points)]
    start = math.degrees(math.atan2(after[1] - y, after[0] - x))
    end = math.degrees(math.atan2(before[1] - y, before[0] - x))
    pencil.arc((x - 9, y - 9, x + 9, y + 9), start, end, fill=look.ink)


def _label(image: Image.Image, text: str, box: Box, look: Look) -> None:
    image.paste(look.ink, (box[0], box[1]), mask(text, look.face))
