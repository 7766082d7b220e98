"""Polygons with named corners and angle values to be read.

Easy are triangles, hard are quadrilaterals.
Every corner has its name outside the figure and its angle inside; one angle is `?`. The question asks for that one, to
be computed from the angle sum, or for one that is printed.
"""

import math
import random
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations

import msgspec
from PIL import Image

from virc.data.synth import sketch
from virc.data.synth.problem import (
    Difficulty,
    Label,
    Point,
    Split,
    around,
    inside,
    meet,
    moved_box,
    split_of,
    unit,
    window,
)
from virc.data.synth.sketch import Style, mask, random_style
from virc.data.synth.worked import FOUND, Solution, Spot, searched
from virc.reasoning.calls import Box

NAME = "polygons"
ABOUT = "triangles and quadrilaterals with one hidden angle"
NOUN = "corner"
MAX_PIXELS = 252 * 252
NAMES = "ABCDEFGHKLMPQRXY"
QUESTIONS = (
    "In {figure} {name}, find m∠{corner}.",
    "Find the measure of angle {corner} in {figure} {name}.",
    "What is m∠{corner} in {figure} {name}?",
    "How large is angle {corner}?",
    "Find angle {corner}.",
)
FIGURES = {3: "triangle", 4: "quadrilateral"}
CROP = 84  # px, a whole label fits in a crop of this side
SIDES: Mapping[Difficulty | None, Sequence[int]] = {"easy": (3,), "hard": (4,), None: (3, 3, 4)}


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
        left, top, right, bottom = zip(self.letter_box, self.value_box, strict=True)
        return min(left), min(top), max(right), max(bottom)


class Diagram(msgspec.Struct, frozen=True):
    """One problem. `corners` run around the figure; `asked` indexes the corner the question is about."""

    width: int
    height: int
    corners: tuple[Corner, ...]
    asked: int
    question: str
    style: Style

    @property
    def answer(self) -> int:
        return self.corners[self.asked].angle

    @property
    def is_printed(self) -> bool:
        return self.corners[self.asked].printed != "?"

    @property
    def difficulty(self) -> Difficulty:
        return "easy" if len(self.corners) == 3 else "hard"

    @property
    def labels(self) -> Sequence[Label]:
        pairs = (
            (Label(corner.letter, corner.letter_box), Label(corner.printed, corner.value_box))
            for corner in self.reading_order()
        )
        return [label for pair in pairs for label in pair]

    def reading_order(self) -> Sequence[Corner]:
        """Corners as a reader meets them: left to right by their crops, then top to bottom."""
        return sorted(self.corners, key=lambda corner: crop_of(corner, self.width, self.height))

    def split(self) -> Split:
        """Which split this figure belongs to: one in ten is held out, wherever its corners begin to be counted."""
        printed = [f"{corner.letter}{corner.printed}" for corner in self.corners]
        start = printed.index(min(printed))
        return split_of("|".join([*printed[start:], *printed[:start], self.corners[self.asked].letter]))


def generate(
    rng: random.Random,
    split: Split = "train",
    difficulty: Difficulty | None = None,
    *,
    sides: Sequence[int] | None = None,
    printed: bool | None = None,
) -> Diagram:
    """A legible figure of that split.

    Args:
        sides: numbers of sides to choose from, whatever the difficulty.
        printed: whether the asked angle stands in the figure; None: in one of five.
    """
    while True:
        count = rng.choice(sides or SIDES[difficulty])
        diagram = sketch.draw_until_legible(partial(_generate, rng, count), split)
        if printed in (None, diagram.is_printed):
            return diagram


def counterfactual(diagram: Diagram, rng: random.Random) -> Diagram:
    count, least, angles = len(diagram.corners), 25, list[int]()
    while not angles or not least <= angles[-1] <= 140 or angles[diagram.asked] == diagram.answer:
        angles = [rng.randint(least, 140) for _ in range(count - 1)]
        angles.append(180 * (count - 2) - sum(angles))
    points = [corner.point for corner in diagram.corners]
    corners = tuple(
        _corner(points, index, corner.letter, angles[index], corner.printed == "?", diagram.style)
        for index, corner in enumerate(diagram.corners)
    )
    return msgspec.structs.replace(diagram, corners=corners)


def crop_of(corner: Corner, width: int, height: int) -> Box:
    return crop_around(corner.box, width, height)


def crop_around(label: Box, width: int, height: int) -> Box:
    """CROP px a side around a label, on a grid, inside a page of that size."""
    return window(label, (CROP, CROP), (width, height))


def draw(diagram: Diagram) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    style = diagram.style
    image, pencil = sketch.blank(diagram.width, diagram.height, style)
    points = [corner.point for corner in diagram.corners]
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        sketch.line(pencil, start, end, style)
    if style.arcs:
        for index in range(len(points)):
            sketch.arc(pencil, points, index, style)
    for corner in diagram.corners:
        sketch.label(image, corner.letter, corner.letter_box, style)
        sketch.label(image, _shown(corner.printed, style), corner.value_box, style)
    return image.convert("RGB")


def solution(diagram: Diagram) -> Solution:
    """Read corners up to the asked one where its angle is printed; else read all of them, then compute."""
    asked, corners = diagram.corners[diagram.asked], diagram.reading_order()
    crops, needs = spots(diagram), wanted(asked.letter)
    plan = f"I need angle {asked.letter}: it is printed, or the others leave it over."
    if diagram.is_printed:
        at = corners.index(asked)
        return Solution(NOUN, plan, crops[: at + 1], FOUND, str(asked.angle), (at,), needs)
    sums = arithmetic([corner.angle for corner in corners if corner is not asked])
    return Solution(NOUN, plan, crops, sums, str(asked.angle), wanted=needs)


def spots(diagram: Diagram) -> Sequence[Spot]:
    page = diagram.width, diagram.height
    crops = [(crop_of(corner, *page), corner) for corner in diagram.reading_order()]
    return [
        Spot(crop, moved_box(crop, corner.box, page), f"{corner.letter} is {corner.printed}.") for crop, corner in crops
    ]


def absent(diagram: Diagram, rng: random.Random) -> tuple[str, Solution]:
    present = {corner.letter for corner in diagram.corners}
    letters = rng.sample([letter for letter in NAMES if letter not in present], len(present))
    figure, name = FIGURES[len(present)], "".join(letters)
    question = rng.choice(QUESTIONS).format(figure=figure, name=name, corner=letters[0])
    return question, searched(NOUN, spots(diagram), wanted(letters[0]))


def wanted(letter: str) -> str:
    return f"I need angle {letter}."


def arithmetic(known: Sequence[int]) -> str:
    """Take the known angles from the angle sum, tens before units: a small model carries safely in small steps."""
    rest = 180 * (len(known) - 1)
    steps = [f"The sum is {rest}."]
    for angle in known:
        for part in (angle // 10 * 10, angle % 10):
            steps.append(f"{rest} - {part} = {rest - part}.")
            rest -= part
    return " ".join(steps)


def _generate(rng: random.Random, sides: int) -> Diagram | None:
    width, height = rng.choice((196, 224, 252)), rng.choice((196, 224, 252))
    points = sketch.polygon(rng, sides, width, height)
    if points is None:
        return None
    angles = sketch.angles(points)
    if angles is None:
        return None
    style = random_style(rng)
    letters = rng.sample(NAMES, sides)
    hidden = rng.randrange(sides)
    corners = tuple(
        _corner(points, index, letters[index], angles[index], index == hidden, style) for index in range(sides)
    )
    if not _legible(corners, width, height):
        return None
    asked = hidden if rng.random() < 0.8 else rng.choice([i for i in range(sides) if i != hidden])
    start, step = rng.randrange(sides), rng.choice((1, -1))  # a name starts at any corner and runs either way around
    name = "".join(letters[(start + step * i) % sides] for i in range(sides))
    question = rng.choice(QUESTIONS).format(figure=FIGURES[sides], name=name, corner=letters[asked])
    return Diagram(width, height, corners, asked, question, style)


def _corner(points: Sequence[Point], index: int, letter: str, angle: int, hidden: bool, style: Style) -> Corner:
    (x, y), behind = points[index], points[(index + 1) % len(points)]
    one, two = unit((x, y), points[index - 1]), unit((x, y), behind)
    inward = unit((0, 0), (one[0] + two[0], one[1] + two[1]))  # halfway between the sides
    printed = "?" if hidden else str(angle)
    name_size = mask(letter, style.face).size
    value_size = mask(_shown(printed, style), style.face).size
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
    boxes = [box for corner in corners for box in (corner.letter_box, corner.value_box)]
    if not all(inside(box, (1, 1, width - 1, height - 1)) for box in boxes):
        return False
    if any(meet(one, other) for one, other in combinations(boxes, 2)):
        return False
    crops = [crop_of(corner, width, height) for corner in corners]
    if len(set(crops)) < len(crops):
        return False
    return all(inside(corner.box, crop) for corner, crop in zip(corners, crops, strict=True))


def _shown(printed: str, style: Style) -> str:
    return f"{printed}°" if style.degrees and printed != "?" else printed
