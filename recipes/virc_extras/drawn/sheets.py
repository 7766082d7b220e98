"""Numbers of 12 px in the squares of a page of 4,032 x 3,024 px, as a phone photographs it.

The page is to be shown smaller. Under a limit of 1 megapixel digits are 3 px high, which leaves a person to guess;
under 160,000 pixels they are 1 px high and gone. Only a crop from the file shows them as they were drawn. Squares are
named like those of a map, so that it is known where to look: at the square first, in which the frame around its number
is seen, then at the frame.

Easy asks for one number, hard for the sum or the difference of two.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from PIL import Image

from virc.data.synth import sketch
from virc.data.synth.problem import DIFFICULTIES, Difficulty, Label, Split, around, split_of
from virc.data.synth.sketch import Face, Style
from virc.data.synth.worked import FOUND, Solution, Spot, searched
from virc.reasoning.calls import Box

NAME = "sheets"
ABOUT = "numbers of 12 px on pages of 12 megapixels, to be cut out of the file in two steps"
NOUN = "square"
PAGE = (4032, 3024)
MAX_PIXELS = PAGE[0] * PAGE[1]
COLUMNS, ROWS = "ABCDEFG", "12345"
SQUARES = [column + row for row in ROWS for column in COLUMNS]
Ask = Literal["value", "sum", "difference"]
QUESTIONS: Mapping[Ask, Sequence[str]] = {
    "value": ("What number stands in square {}?", "Find the number in square {}."),
    "sum": ("What is the sum of the numbers in {} and {}?", "How much are {} and {} together?"),
    "difference": ("By how much do the numbers in {} and {} differ?", "What is the difference between {} and {}?"),
}
HEIGHT = 12  # px of a digit
SIDE, ORIGIN = 504, (252, 252)  # px of a square, and where the first begins
CROP = 112  # px of the crop that shows a number
_STEP = 28  # px on which that crop begins in its square
_FRAME = (56, 36)  # px
_NAMES = 72  # px of the names of columns and rows
EMPTY = "Nothing is there."


class Sheet(msgspec.Struct, frozen=True):
    """One problem: the numbers by the names of their squares, the frames around them, and what is asked about which."""

    numbers: Mapping[str, Label]
    frames: Mapping[str, Box]
    ask: Ask
    asked: tuple[str, ...]
    question: str
    style: Style
    difficulty: Difficulty

    @property
    def answer(self) -> int:
        values = [self.number_at(name) for name in self.asked]
        return abs(values[0] - values[1]) if self.ask == "difference" else sum(values)

    @property
    def labels(self) -> Sequence[Label]:
        return [self.numbers[name] for name in SQUARES if name in self.numbers]

    def number_at(self, name: str) -> int:
        return int(self.numbers[name].text)

    def split(self) -> Split:
        asked = (f"{name}{self.numbers[name].text}" for name in sorted(self.asked))
        return split_of("|".join([NAME, self.ask, *asked]))


def square(name: str) -> Box:
    """The square of that name, px."""
    column, row = COLUMNS.index(name[0]), ROWS.index(name[1])
    left, top = ORIGIN[0] + SIDE * column, ORIGIN[1] + SIDE * row
    return left, top, left + SIDE, top + SIDE


def generate(rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Sheet:
    chosen: Difficulty = rng.choice(DIFFICULTIES) if difficulty is None else difficulty
    return sketch.draw_until_legible(lambda: _generate(rng, chosen), split)


def draw(problem: Sheet) -> Image.Image:
    """The page, RGB, of PAGE px."""
    image, pencil = sketch.blank(*PAGE, problem.style)
    for name in SQUARES:
        pencil.rectangle(square(name), outline=170, width=2)
    large = msgspec.structs.replace(problem.style, face=Face("sans", _NAMES))
    for at, text in enumerate(COLUMNS + ROWS):
        along = SIDE * (at % len(COLUMNS)) + SIDE // 2
        middle = (ORIGIN[0] + along, ORIGIN[1] // 2) if at < len(COLUMNS) else (ORIGIN[0] // 2, ORIGIN[1] + along)
        sketch.label(image, text, sketch.placed(text, middle, large).box, large)
    for frame in problem.frames.values():
        pencil.rectangle(frame, outline=problem.style.ink, width=2)
    for each in problem.labels:
        sketch.label(image, each.text, each.box, problem.style)
    return image.convert("RGB")


def counterfactual(problem: Sheet, rng: random.Random) -> Sheet:
    while True:
        numbers = {name: _number(rng, _middle(box), problem.style) for name, box in problem.frames.items()}
        other = msgspec.structs.replace(problem, numbers=numbers)
        if other.answer not in (0, problem.answer):
            return other


def spots(problem: Sheet) -> Sequence[Spot]:
    return [_spot(problem, name) for name in SQUARES if name in problem.numbers]


def solution(problem: Sheet) -> Solution:
    """Read each asked square, then add or compare, one place of one number a step, as a small model does safely."""
    values = [problem.number_at(name) for name in problem.asked]
    first, *others = [max(values), -min(values)] if problem.ask == "difference" else values
    looks, plan = [_spot(problem, name) for name in problem.asked], f"I need {' and '.join(problem.asked)}."
    return Solution(NOUN, plan, looks, " ".join(moved(first, others)[0] or [FOUND]), str(problem.answer))


def moved(value: int, by: Sequence[int]) -> tuple[list[str], int]:
    steps = []
    for number in by:
        sign = "-" if number < 0 else "+"
        for part in filter(None, (abs(number) // 10 * 10, abs(number) % 10)):
            after = value - part if number < 0 else value + part
            steps.append(f"{value} {sign} {part} = {after}.")
            value = after
    return steps, value


def absent(problem: Sheet, rng: random.Random) -> tuple[str, Solution]:
    missing = rng.choice([name for name in SQUARES if name not in problem.numbers])
    box = square(missing)
    return rng.choice(QUESTIONS["value"]).format(missing), searched(NOUN, [Spot(box, box, EMPTY)])


def _generate(rng: random.Random, difficulty: Difficulty) -> Sheet | None:
    style = msgspec.structs.replace(sketch.random_style(rng), dashed=False)
    style = msgspec.structs.replace(style, face=msgspec.structs.replace(style.face, size=HEIGHT))
    numbers = {}
    for name in SQUARES:
        left, top, _, _ = square(name)
        reach = SIDE - CROP // 2
        middle = (left + rng.randint(CROP // 2, reach), top + rng.randint(CROP // 2, reach))
        numbers[name] = _number(rng, middle, style)
    for name in rng.sample(SQUARES, 4):
        del numbers[name]
    ask: Ask = "value" if difficulty == "easy" else rng.choice(("sum", "difference"))
    asked = tuple(rng.sample(sorted(numbers), 1 if ask == "value" else 2))
    frames = {name: around(_middle(label.box), _FRAME) for name, label in numbers.items()}
    problem = Sheet(numbers, frames, ask, asked, rng.choice(QUESTIONS[ask]).format(*asked), style, difficulty)
    return problem if problem.answer else None


def _number(rng: random.Random, middle: tuple[int, int], style: Style) -> Label:
    return sketch.placed(str(rng.randint(10, 99)), middle, style)


def _middle(box: Box) -> tuple[int, int]:
    left, top, right, bottom = box
    return (left + right) // 2, (top + bottom) // 2


def _spot(problem: Sheet, name: str) -> Spot:
    label, whole = problem.numbers[name], square(name)
    first, second = (_window(label, whole, more) for more in (0, _STEP))
    return Spot(first, second, f"{name} is {label.text}.", around=whole)


def _window(label: Label, whole: Box, more: int) -> Box:
    """The crop of a number, on the grid of its square, `more` px further in."""
    found = []
    for start, middle in zip(whole[:2], _middle(label.box), strict=True):
        at = round((middle - start - CROP / 2) / _STEP) * _STEP
        found.append(start + max(0, min(SIDE - CROP, at + (more if at < SIDE // 2 else -more))))
    return found[0], found[1], found[0] + CROP, found[1] + CROP
