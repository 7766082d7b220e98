"""Polygons whose angles are expressions in x: the angle sum gives x, and x gives the asked angle.

Easy are triangles and quadrilaterals in which every angle is x plus or minus something. Hard are quadrilaterals and
pentagons with multiples of x and plain numbers among them. Where a label does not fit its corner an arrow points there.
"""

import math
import random
from collections.abc import Mapping, Sequence

import msgspec
from PIL import Image

from virc.data.synth import shared, sketch, sums
from virc.data.synth.glyphs import mask
from virc.data.synth.plane import Point, around, hull, unit, window
from virc.data.synth.problem import LARGEST, Difficulty, Label, Split, settled, split_of
from virc.data.synth.sketch import Style
from virc.data.synth.worked import Solution, Spot, searched
from virc.reasoning.calls import Box

NAME = "expressions"
ABOUT = "polygons with angles such as (x + 20)°, of which one is asked"
NOUN = "corner"
MAX_PIXELS = LARGEST
NAMES = "ABCDEFGHJKLMNPQRSTUVWXYZ"
QUESTIONS = (
    "In {figure} {name}, find m∠{corner}.",
    "Find the measure of angle {corner} in {figure} {name}.",
    "What is m∠{corner}?",
    "Find angle {corner}.",
    "Find $m\\angle {corner}$",
)
CROP = (140, 84)  # px, the letter and the expression of a corner fit in it
_SIDES: Mapping[Difficulty, Sequence[int]] = {"easy": (3, 4), "hard": (4, 5)}
_PAGES: Mapping[Difficulty, Sequence[int]] = {"easy": (280, 308, 336), "hard": (308, 336, 364)}
_FACTORS: Mapping[Difficulty, Sequence[int]] = {"easy": (1,), "hard": (0, 1, 1, 2, 3)}
_TIP = 9.0  # px from a corner to the tip of its arrow
_NEAR, _FAR = 56, 86  # px from a corner to its label; from the first on, an arrow shows what belongs together


class Angle(msgspec.Struct, frozen=True):
    """A corner whose angle is `factor` * x + `constant` degrees.

    Args:
        depth: px from the corner inwards to the middle of its label.
        arrow: px from the corner to where an arrow to it begins; 0 where there is none.
    """

    factor: int
    constant: int
    point: Point
    inward: Point
    depth: float
    arrow: float
    letter: Label
    label: Label

    def degrees(self, x: int) -> int:
        """Its measure."""
        return self.factor * x + self.constant

    @property
    def box(self) -> Box:
        """The smallest box that holds both labels."""
        return hull(self.letter.box, self.label.box)


class Expressions(msgspec.Struct, frozen=True):
    """One problem. `angles` run around the figure; `asked` indexes the one the question is about."""

    width: int
    height: int
    angles: tuple[Angle, ...]
    x: int
    asked: int
    question: str
    style: Style
    difficulty: Difficulty

    @property
    def answer(self) -> int:
        """The asked angle in degrees."""
        return self.angles[self.asked].degrees(self.x)

    @property
    def labels(self) -> Sequence[Label]:
        """Every text on the page, in reading order."""
        return [label for angle in self.reading_order() for label in (angle.letter, angle.label)]

    def reading_order(self) -> Sequence[Angle]:
        """Corners left to right by their crops, then top to bottom."""
        return sorted(self.angles, key=lambda angle: window(angle.box, CROP, (self.width, self.height)))

    def split(self) -> Split:
        """By the figure, whichever corner is the first, and the asked corner."""
        printed = [f"{angle.letter.text}{angle.label.text}" for angle in self.angles]
        return split_of("|".join([NAME, *shared.from_smallest(printed), self.angles[self.asked].letter.text]))


def generate(rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Expressions:
    """A legible figure of that split."""
    chosen = settled(difficulty, rng)
    sides = rng.choice(_SIDES[chosen])
    return shared.draw_until_legible(lambda: _generate(rng, chosen, sides), split)


def draw(problem: Expressions) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    return shared.with_labels(_figure(problem), problem)


def counterfactual(problem: Expressions, rng: random.Random) -> Expressions:
    """The same figure and question with other expressions, so that the asked angle is another one."""
    while True:
        degrees = shared.other_angles(rng, len(problem.angles), 30, problem.asked, problem.answer)
        found = _printed(rng, degrees, [angle.factor for angle in problem.angles])
        if found is None:
            continue
        x, constants = found
        texts = [
            _shown(angle.factor, constant, problem.style)
            for angle, constant in zip(problem.angles, constants, strict=True)
        ]
        if any(len(text) > len(angle.label.text) for text, angle in zip(texts, problem.angles, strict=True)):
            continue  # it would hardly fit
        angles = []
        for angle, constant, text in zip(problem.angles, constants, texts, strict=True):
            (x_px, y_px), (dx, dy), depth = angle.point, angle.inward, angle.depth
            label = shared.placed(text, (x_px + depth * dx, y_px + depth * dy), problem.style)
            angles.append(msgspec.structs.replace(angle, constant=constant, label=label))
        other = msgspec.structs.replace(problem, angles=tuple(angles), x=x)
        if _legible(other):
            return other


def spots(problem: Expressions) -> Sequence[Spot]:
    """Every corner, in reading order."""
    readings = (
        (angle.box, f"{angle.letter.text} is {_sum_of(angle.factor, angle.constant)}.", None)
        for angle in problem.reading_order()
    )
    return shared.spots_of(readings, CROP, (problem.width, problem.height))


def solution(problem: Expressions) -> Solution:
    """Read every corner, solve for x, and put it in."""
    whole = 180 * (len(problem.angles) - 2)
    plan = f"I need every angle: their sum is {whole}, which gives x."
    asked, x = problem.angles[problem.asked], problem.x
    inserted = [f"{asked.letter.text} is {asked.constant}."]  # an angle without x was read
    if asked.factor:
        inserted, _ = sums.moved(x, [*[x] * (asked.factor - 1), asked.constant])
    steps = [f"The sum is {whole}.", *_collected(problem, whole), *inserted]
    return Solution(NOUN, plan, spots(problem), " ".join(steps), str(problem.answer))


def absent(problem: Expressions, rng: random.Random) -> tuple[str, Solution]:
    """A question about a corner that the figure does not have, and the search for it."""
    present = {angle.letter.text for angle in problem.angles}
    question, _ = shared.question_about_none(rng, QUESTIONS, NAMES, present)
    return question, searched(NOUN, spots(problem))


def _collected(problem: Expressions, whole: int) -> list[str]:
    """The xs counted, the numbers taken from the angle sum, and the division, each in small steps."""
    order = problem.reading_order()
    count, steps = 0, []
    for angle in order:
        if angle.factor:
            count += angle.factor
            steps.append(f"{_times(count)}.")
    taken, rest = sums.moved(whole, [-angle.constant for angle in order])
    divided = [f"{_times(count)} = {rest}.", *sums.divided(rest, count)] if count > 1 else []
    return [*steps, *taken, *divided, f"x = {problem.x}."]


def _generate(rng: random.Random, difficulty: Difficulty, sides: int) -> Expressions | None:
    width, height = rng.choice(_PAGES[difficulty]), rng.choice(_PAGES[difficulty])
    points = _polygon(rng, sides, width, height)
    degrees = sketch.angles(points)
    if degrees is None:
        return None
    factors = [rng.choice(_FACTORS[difficulty]) for _ in points]
    if sum(map(bool, factors)) < 2:
        return None
    found = _printed(rng, degrees, factors)
    if found is None:
        return None
    x, constants = found
    style = msgspec.structs.replace(sketch.random_style(rng), dashed=False)
    letters = rng.sample(NAMES, sides)
    values = zip(range(sides), letters, factors, constants, strict=True)
    angles = tuple(filter(None, (_angle(points, *each, style) for each in values)))
    if len(angles) < sides:
        return None
    asked = rng.choice([index for index, factor in enumerate(factors) if factor])
    question = shared.question_about(rng, QUESTIONS, letters, asked)
    if rng.random() < 0.25:  # choices, as published questions offer them
        others = {degrees[asked] + 5 * away for away in rng.sample([-4, -3, -2, -1, 1, 2, 3, 4], 3)}
        question += f" Choices: {' '.join(map(str, sorted({degrees[asked], *others})))}"
    problem = Expressions(width, height, angles, x, asked, question, style, difficulty)
    return problem if _legible(problem) else None


def _polygon(rng: random.Random, sides: int, width: int, height: int) -> list[Point]:
    """Corners around the page, clockwise: a figure that fills it, for its labels need room."""
    turn, points = rng.random(), []
    for index in range(sides):
        angle = math.tau * (index + turn + rng.uniform(-0.25, 0.25)) / sides
        reach = rng.uniform(0.75, 1.0)
        x = width / 2 + reach * (width / 2 - 32) * math.cos(angle)
        points.append((x, height / 2 + reach * (height / 2 - 32) * math.sin(angle)))
    return points


def _printed(rng: random.Random, degrees: Sequence[int], factors: Sequence[int]) -> tuple[int, list[int]] | None:
    """An x and the number that each expression adds to its multiple of x; None where a number would be too large."""
    even = sum(degrees) / sum(factors)
    x = round(even * rng.uniform(0.6, 1.1) if len(set(factors)) > 1 else even + rng.randint(-15, 15))
    constants = [degree - factor * x for degree, factor in zip(degrees, factors, strict=True)]
    if x < 5 or any(factor and abs(number) > 70 for factor, number in zip(factors, constants, strict=True)):
        return None
    return x, constants


def _angle(points: Sequence[Point], index: int, letter: str, factor: int, constant: int, style: Style) -> Angle | None:
    """Place the letter outside and the expression inside, as near to the corner as it fits; None where it does not."""
    (x, y), inward = points[index], shared.bisector(points, index)
    name = shared.placed(letter, (x - 13 * inward[0], y - 13 * inward[1]), style)
    text = _shown(factor, constant, style)
    size = mask(text, style.face).size
    for depth in range(12, _FAR, 2):
        box = around((x + depth * inward[0], y + depth * inward[1]), size)
        if _within(box, points):
            out = min(side / 2 / abs(part) if part else math.inf for side, part in zip(size, inward, strict=True))
            start = depth - out - 4  # of the arrow, where there is room for one
            arrow = start if depth >= _NEAR and start - _TIP > 8 else 0.0
            return Angle(factor, constant, (x, y), inward, depth, arrow, name, Label(text, box))
    return None


def _within(box: Box, points: Sequence[Point]) -> bool:
    """Whether a box is inside a convex polygon, 4 px or more from its sides."""
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        along = unit(start, end)
        for x, y in ((box[0], box[1]), (box[2], box[1]), (box[0], box[3]), (box[2], box[3])):
            if along[0] * (y - start[1]) - along[1] * (x - start[0]) < 4:
                return False
    return True


def _legible(problem: Expressions) -> bool:
    return shared.is_legible(problem, _figure(problem), [angle.box for angle in problem.angles], CROP)


def _figure(problem: Expressions) -> Image.Image:
    """The picture without its labels."""
    style = problem.style
    image, pencil = shared.blank(problem.width, problem.height, style)
    points = [angle.point for angle in problem.angles]
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        sketch.line(pencil, start, end, style)
    for angle in problem.angles:
        if angle.arrow:
            (x, y), (dx, dy) = angle.point, angle.inward
            start = x + angle.arrow * dx, y + angle.arrow * dy
            sketch.arrow(pencil, start, (x + _TIP * dx, y + _TIP * dy), style)
    return image


def _times(factor: int) -> str:
    return "x" if factor == 1 else f"{factor}x"


def _sum_of(factor: int, constant: int) -> str:
    """An expression as text: `2x - 5`."""
    if not factor:
        return str(constant)
    if not constant:
        return _times(factor)
    return f"{_times(factor)} {'-' if constant < 0 else '+'} {abs(constant)}"


def _shown(factor: int, constant: int, style: Style) -> str:
    """An expression as it is printed: `(2x - 5)°`, without spaces by the plotter, whose letters are wide."""
    text = _sum_of(factor, constant)
    text = f"({text})°" if " " in text else f"{text}°"
    return text.replace(" ", "") if style.face.kind == "plotter" else text
