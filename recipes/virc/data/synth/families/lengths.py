"""Lengths along a figure: perimeters, midpoints, and sides cut by a parallel.

Easy asks for a perimeter: of a figure with every side labelled, or of a triangle whose halves up to the midpoints are
labelled. Hard asks for one part: the side that a given perimeter leaves over, or the part of a side that a parallel
cuts off in proportion.
"""

import math
import random
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import msgspec
from PIL import Image

from virc.data.synth import shared, sketch, sums
from virc.data.synth.glyphs import mask
from virc.data.synth.plane import Point, around, unit, window
from virc.data.synth.problem import LARGEST, Difficulty, Label, Split, settled, split_of
from virc.data.synth.sketch import Style
from virc.data.synth.worked import Solution, Spot, searched

NAME = "lengths"
ABOUT = "perimeters, midpoints and parallels, with lengths to be read along the figure"
NOUN = "length"
MAX_PIXELS = LARGEST
NAMES = "ABCDEFGHKLMNPQRSTVXY"
CROP = (84, 84)  # px, a label with what is around it
Kind = Literal["perimeter", "midpoints", "left_over", "parallel"]
KINDS: Mapping[Difficulty, Sequence[Kind]] = {"easy": ("perimeter", "midpoints"), "hard": ("left_over", "parallel")}
_SIDES: Mapping[Kind, Sequence[int]] = {
    "perimeter": (3, 4), "midpoints": (3,), "left_over": (4, 5), "parallel": (3,),
}  # fmt: skip
_PAGES = (224, 252, 280)
_LONGEST = 99
_CUT_SIDE = 110  # px, so that its parts have room for labels
_RATIOS = ((1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (1, 1), (3, 4), (4, 3))  # of the parts of a cut side


class Part(msgspec.Struct, frozen=True):
    """A length between two points, by their indices; `label` says it, or `?`."""

    start: int
    end: int
    length: int
    label: Label


class Lengths(msgspec.Struct, frozen=True):
    """One problem.

    Args:
        points: of the figure; their names are `names`. Of triangles with a cut, the first three are the corners A, B
            and C, the fourth is on AB, the fifth on AC.
        lines: pairs of points to be joined.
        given: a number in the question, 0 for none.
    """

    width: int
    height: int
    kind: Kind
    points: tuple[Point, ...]
    names: tuple[Label, ...]
    lines: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]
    given: int
    template: str
    style: Style

    @property
    def difficulty(self) -> Difficulty:
        """By the kind of question."""
        return "easy" if self.kind in KINDS["easy"] else "hard"

    @property
    def question(self) -> str:
        """With the names of the points and the given number."""
        return self.template.format(given=self.given)

    @property
    def answer(self) -> int:
        """The asked length."""
        printed = [part.length for part in self.parts if part.label.text != "?"]
        hidden = [part.length for part in self.parts if part.label.text == "?"]
        return hidden[0] if hidden else sum(printed) * (2 if self.kind == "midpoints" else 1)

    @property
    def labels(self) -> Sequence[Label]:
        """Every text on the page."""
        return [*self.names, *(part.label for part in self.reading_order())]

    def reading_order(self) -> Sequence[Part]:
        """Lengths left to right by their crops, then top to bottom."""
        page = self.width, self.height
        return sorted(self.parts, key=lambda part: window(part.label.box, CROP, page))

    def name_of(self, part: Part) -> str:
        """The names of its ends."""
        return self.names[part.start].text + self.names[part.end].text

    def split(self) -> Split:
        """By what is printed along the figure, and the kind."""
        texts = sorted(f"{''.join(sorted(self.name_of(part)))}{part.label.text}" for part in self.parts)
        return split_of("|".join([NAME, self.kind, str(self.given), *texts]))


def generate(rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Lengths:
    """A legible figure of that split."""
    kind = rng.choice(KINDS[settled(difficulty, rng)])
    return shared.draw_until_legible(lambda: _generate(rng, kind), split)


def draw(problem: Lengths) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    return shared.with_labels(_figure(problem), problem)


def counterfactual(problem: Lengths, rng: random.Random) -> Lengths:
    """The same figure and question with other lengths, so that the answer is another one."""
    while True:
        if problem.kind == "parallel":
            lengths: Sequence[int] = _proportion(rng)
        elif problem.kind == "left_over":
            cuts = sorted(rng.sample(range(1, problem.given), len(problem.parts) - 1))
            lengths = [high - low for low, high in pairwise([0, *cuts, problem.given])]
        else:
            lengths = [rng.randint(4, 40) for _ in problem.parts]
        parts = tuple(map(partial(_relabelled, problem), problem.parts, lengths))
        other = msgspec.structs.replace(problem, parts=parts)
        if other.answer != problem.answer and _legible(other):
            return other


def spots(problem: Lengths) -> Sequence[Spot]:
    """Every length, in reading order."""
    readings = (
        (part.label.box, f"{problem.name_of(part)} is {part.label.text}.", None) for part in problem.reading_order()
    )
    return shared.spots_of(readings, CROP, (problem.width, problem.height))


def solution(problem: Lengths) -> Solution:
    """Read every length, then add, double, take away or put in proportion."""
    printed = [part.length for part in problem.reading_order() if part.label.text != "?"]
    if problem.kind == "parallel":
        plan = "I need the parts of both sides: they are in proportion."
        lengths = [part.length for part in problem.parts]
        hidden = next(index for index, part in enumerate(problem.parts) if part.label.text == "?")
        # The parts are AD, DB, AE, EC: beside the hidden one on its side, across from it, and the remaining one.
        same, across, third = lengths[hidden ^ 1], lengths[hidden ^ 2], lengths[hidden ^ 3]
        steps = [f"{same} · {across} = {same * across}.", f"{same * across} : {third} = {lengths[hidden]}."]
    elif problem.kind == "left_over":
        plan = "I need the other sides: the perimeter leaves the last one over."
        taken, _ = sums.moved(problem.given, [-length for length in printed])
        steps = [f"The sum is {problem.given}.", *taken]
    else:
        plan = "I need every side: the perimeter is their sum."
        steps, total = sums.moved(printed[0], printed[1:])
        if problem.kind == "midpoints":
            plan = "I need the halves: the perimeter is twice their sum."
            steps += sums.moved(total, [total])[0]
    return Solution(NOUN, plan, spots(problem), " ".join(steps), str(problem.answer))


def absent(problem: Lengths, rng: random.Random) -> tuple[str, Solution]:
    """A question about a side that the figure does not have, and the search for it."""
    present = {label.text for label in problem.names}
    one, two = rng.sample([name for name in NAMES if name not in present], 2)
    question = rng.choice(("How long is {}?", "Find {}.", "What is the length of {}?")).format(one + two)
    return question, searched(NOUN, spots(problem))


class _Plan(msgspec.Struct, frozen=True):
    """A figure before its labels are placed; `parts` are pairs of points with their lengths."""

    points: Sequence[Point]
    names: str
    lines: Sequence[tuple[int, int]]
    parts: Sequence[tuple[tuple[int, int], int]]
    template: str
    hidden: int | None = None
    given: int = 0


def _around(rng: random.Random, points: Sequence[Point], kind: Kind) -> _Plan:
    """A label at every side of a polygon; the perimeter is asked, or given and one side asked."""
    count, scale = len(points), rng.uniform(3, 12)
    ends = [(index, (index + 1) % count) for index in range(count)]
    lengths = [max(2, round(math.dist(points[a], points[b]) / scale)) for a, b in ends]
    parts = list(zip(ends, lengths, strict=True))
    name = "".join(rng.sample(NAMES, count))
    figure = f"{shared.FIGURES[count]} {name}"
    if kind == "perimeter":
        asked = rng.choice((f"What is the perimeter of {figure}?", f"Find the perimeter of {figure}."))
        return _Plan(points, name, ends, parts, asked)
    hidden = rng.randrange(count)
    side = name[hidden] + name[(hidden + 1) % count]
    asked = rng.choice(
        (
            f"The perimeter of {figure} is {{given}}. How long is {side}?",
            f"Find {side} in {figure}, whose perimeter is {{given}}.",
        )
    )
    return _Plan(points, name, ends, parts, asked, hidden, sum(lengths))


def _halved(rng: random.Random, corners: Sequence[Point]) -> _Plan:
    """A triangle ABC with the midpoints D of AB and E of AC, and the lengths of AD, AE and DE."""
    sides = [math.dist(corners[one], corners[two]) for one, two in ((0, 1), (0, 2), (1, 2))]
    scale = rng.uniform(6, 14)
    lengths = [max(2, round(side / scale)) for side in sides]
    a, b, c, d, e = names = rng.sample(NAMES, 5)
    asked = rng.choice(
        (
            f"{d} and {e} are the midpoints of {a}{b} and {a}{c}. What is the perimeter of triangle {a}{b}{c}?",
            f"Find the perimeter of triangle {a}{b}{c}; {d} and {e} are midpoints of {a}{b} and {a}{c}.",
        )
    )
    parts = list(zip(((0, 3), (0, 4), (3, 4)), lengths, strict=True))
    return _Plan(_with_cut(corners, 0.5), "".join(names), _CUT, parts, asked)


def _cut(rng: random.Random, corners: Sequence[Point]) -> _Plan:
    """A triangle ABC with D on AB, E on AC and DE parallel to BC; one of AD, DB, AE and EC is asked."""
    lengths = _proportion(rng)
    a, b, c, d, e = names = rng.sample(NAMES, 5)
    hidden = rng.randrange(4)
    side = (a + d, d + b, a + e, e + c)[hidden]
    asked = rng.choice(
        (f"{d}{e} is parallel to {b}{c}. How long is {side}?", f"Find {side}, where {d}{e} is parallel to {b}{c}.")
    )  # fmt: skip
    parts = list(zip(((0, 3), (3, 1), (0, 4), (4, 2)), lengths, strict=True))
    points = _with_cut(corners, lengths[0] / (lengths[0] + lengths[1]))
    return _Plan(points, "".join(names), _CUT, parts, asked, hidden)


_CUT = ((0, 1), (1, 2), (2, 0), (3, 4))


def _with_cut(corners: Sequence[Point], share: float) -> list[Point]:
    """The corners A, B and C of a triangle, and the points at that share of AB and of AC."""
    (x, y), *others = corners
    return [*corners, *((x + (bx - x) * share, y + (by - y) * share) for bx, by in others)]


def _proportion(rng: random.Random) -> list[int]:
    """AD, DB, AE and EC in proportion."""
    p, q = rng.choice(_RATIOS)
    one, other = rng.sample(range(2, 13), 2)
    return [p * one, q * one, p * other, q * other]


def _generate(rng: random.Random, kind: Kind) -> Lengths | None:
    """One draw; None where its labels are not legible."""
    width, height = rng.choice(_PAGES), rng.choice(_PAGES)
    corners = sketch.polygon(rng, rng.choice(_SIDES[kind]), width, height)
    if corners is None or sketch.angles(corners) is None:
        return None
    sides = [math.dist(start, end) for start, end in zip(corners, [*corners[1:], corners[0]], strict=True)]
    if kind in ("midpoints", "parallel") and min(sides) < _CUT_SIDE:
        return None
    if kind == "midpoints":
        plan = _halved(rng, corners)
    else:
        plan = _cut(rng, corners) if kind == "parallel" else _around(rng, corners, kind)
    if any(length > _LONGEST for _, length in plan.parts):
        return None
    style = msgspec.structs.replace(sketch.random_style(rng), degrees=False, arcs=False)
    middle = _middle(plan.points)
    names = []
    for (x, y), name in zip(plan.points, plan.names, strict=True):
        dx, dy = unit(middle, (x, y))  # away from the middle of the figure
        names.append(shared.placed(name, (x + 13 * dx, y + 13 * dy), style))
    problem = Lengths(
        width, height, kind, tuple(plan.points), tuple(names), tuple(plan.lines), (), plan.given, plan.template, style
    )
    parts = tuple(
        _relabelled(problem, Part(*ends, length, Label("?" if index == plan.hidden else "", (0, 0, 0, 0))), length)
        for index, (ends, length) in enumerate(plan.parts)
    )  # fmt: skip
    problem = msgspec.structs.replace(problem, parts=parts)
    return problem if _legible(problem) else None


def _middle(points: Sequence[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _relabelled(problem: Lengths, part: Part, length: int) -> Part:
    """A part with another length; its label is beside the middle of the line, away from that of the figure."""
    text = part.label.text if part.label.text == "?" else str(length)
    (ax, ay), (bx, by) = problem.points[part.start], problem.points[part.end]
    dx, dy = unit((ax, ay), (bx, by))
    x, y = (ax + bx) / 2, (ay + by) / 2
    cx, cy = _middle(problem.points)
    side = 1.0 if (x - cx) * -dy + (y - cy) * dx > 0 else -1.0
    size = mask(text, problem.style.face).size
    away = 5 + (abs(dy) * size[0] + abs(dx) * size[1]) / 2
    box = around((x - side * dy * away, y + side * dx * away), size)
    return msgspec.structs.replace(part, length=length, label=Label(text, box))


def _legible(problem: Lengths) -> bool:
    return shared.is_legible(problem, _figure(problem), [part.label.box for part in problem.parts], CROP)


def _figure(problem: Lengths) -> Image.Image:
    """The picture without its labels."""
    image, pencil = shared.blank(problem.width, problem.height, problem.style)
    for start, end in problem.lines:
        sketch.line(pencil, problem.points[start], problem.points[end], problem.style)
    return image
