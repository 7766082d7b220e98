"""Small plates far apart on a large page, each with a name and a number too small for the overview.

The overview shows where plates are, not their text: the characters are 6 px high, under half a patch of 14 px, and the
two lines of a plate share one image token of 28 px. A crop is cut from what was shown, so it alone shows nothing more;
enlarged, its characters are as large as those of the other families. Only zooming in shows which plate the question is
about.

Easy has two or three plates on a page of medium size. Hard has four to six on the largest, one or two of them empty.
"""

import math
import random
from collections.abc import Mapping, Sequence

import msgspec
from PIL import Image

from virc.data.synth import shared, sketch, sums
from virc.data.synth.glyphs import Face
from virc.data.synth.plane import Point, around, window
from virc.data.synth.problem import LARGEST, Difficulty, Label, Split, settled, split_of
from virc.data.synth.sketch import Style
from virc.data.synth.sums import Ask
from virc.data.synth.worked import Solution, Spot, searched
from virc.reasoning.calls import Box

NAME = "far"
ABOUT = "small numbers far apart on large pages, to be found, cut out and enlarged"
NOUN = "plate"
MAX_PIXELS = LARGEST
NAMES = "ABCDEFGHKLMPQRXY"
QUESTIONS: Mapping[Ask, Sequence[str]] = {
    "value": ("What number stands at {}?", "Find the number at {}."),
    "sum": ("What is the sum of the numbers at {} and {}?", "How much are {} and {} together?"),
    "difference": ("By how much do the numbers at {} and {} differ?", "What is the difference between {} and {}?"),
}  # fmt: skip
HEIGHT = 6  # px of a character
CROP = (56, 56)
SCALE = 2.5
EMPTY = "Nothing is there."
_PAGES: Mapping[Difficulty, Sequence[tuple[int, int]]] = {
    "easy": ((336, 336), (364, 308), (308, 364)),
    "hard": ((448, 448), (560, 336), (336, 560), (504, 392)),
}
_PLATES: Mapping[Difficulty, Sequence[int]] = {"easy": (2, 3), "hard": (4, 5, 6)}
_APART = 110  # px between the middles of plates
_HALF = 12, 11  # px from the middle of a plate to its edges


class Plate(msgspec.Struct, frozen=True):
    """A plate around a point: a name over a number, or nothing."""

    middle: Point
    name: Label | None = None
    number: Label | None = None

    @property
    def box(self) -> Box:
        """Its frame, px."""
        return around(self.middle, (2 * _HALF[0], 2 * _HALF[1]))


class Far(msgspec.Struct, frozen=True):
    """One problem. `asked` are the names that the question is about."""

    width: int
    height: int
    plates: tuple[Plate, ...]
    ask: Ask
    asked: tuple[str, ...]
    question: str
    style: Style
    difficulty: Difficulty

    @property
    def answer(self) -> int:
        """The number, the sum, or the larger less the smaller."""
        return sums.answer(self.ask, [self.number_at(name) for name in self.asked])

    @property
    def labels(self) -> Sequence[Label]:
        """Every text on the page, in reading order."""
        return [label for plate in self.reading_order() for label in (plate.name, plate.number) if label]

    def number_at(self, name: str) -> int:
        """What the plate of that name says."""
        return next(
            int(plate.number.text) for plate in self.plates if plate.name and plate.number and plate.name.text == name
        )

    def reading_order(self) -> Sequence[Plate]:
        """Plates left to right by their crops, then top to bottom."""
        return sorted(self.plates, key=lambda plate: window(plate.box, CROP, (self.width, self.height)))

    def split(self) -> Split:
        """By the text on the plates and the question."""
        texts = sorted(f"{plate.name.text}{plate.number.text}" for plate in self.plates if plate.name and plate.number)
        return split_of("|".join([NAME, self.ask, *texts, *sorted(self.asked)]))


def generate(rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Far:
    """A page of that split whose plates are far enough apart."""
    chosen = settled(difficulty, rng)
    count = rng.choice(_PLATES[chosen])
    return shared.draw_until_legible(lambda: _generate(rng, chosen, count), split)


def draw(problem: Far) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    return shared.with_labels(_figure(problem), problem)


def counterfactual(problem: Far, rng: random.Random) -> Far:
    """The same page and question with other numbers, so that the answer is another one."""
    while True:
        plates = tuple(
            _plate(plate.middle, plate.name.text, rng.randint(10, 99), problem.style) if plate.name else plate
            for plate in problem.plates
        )
        other = msgspec.structs.replace(problem, plates=plates)
        if other.answer not in (0, problem.answer):
            return other


def spots(problem: Far) -> Sequence[Spot]:
    """Every plate, in reading order."""
    readings: list[tuple[Box, str, float | None]] = [
        (plate.box, f"{plate.name.text} is {plate.number.text}.", SCALE)
        if plate.name and plate.number
        else (plate.box, EMPTY, None)
        for plate in problem.reading_order()
    ]
    return shared.spots_of(readings, CROP, (problem.width, problem.height))


def solution(problem: Far) -> Solution:
    """Read one plate after the other up to the last asked one, then add or compare."""
    named = [plate.name.text if plate.name else "" for plate in problem.reading_order()]
    needed = sorted(named.index(name) for name in problem.asked)
    numbers = [problem.number_at(named[at]) for at in needed]
    return sums.solution(problem.ask, problem.asked, numbers, NOUN, spots(problem)[: needed[-1] + 1], needed)


def absent(problem: Far, rng: random.Random) -> tuple[str, Solution]:
    """A question about a plate that the page does not have, and the search for it."""
    present = [plate.name.text for plate in problem.plates if plate.name]
    missing = rng.choice([name for name in NAMES if name not in present])
    questions = [question for ask in QUESTIONS for question in QUESTIONS[ask]]
    question = rng.choice(questions).format(missing, rng.choice(present))
    return question, searched(NOUN, spots(problem))


def _generate(rng: random.Random, difficulty: Difficulty, count: int) -> Far | None:
    width, height = rng.choice(_PAGES[difficulty])
    middles = [(rng.randint(30, width - 30), rng.randint(30, height - 30)) for _ in range(count)]
    if min(math.dist(one, other) for one in middles for other in middles if one is not other) < _APART:
        return None
    style = msgspec.structs.replace(sketch.random_style(rng), line=1)
    face = Face("sans", HEIGHT)  # bold letters and those of the plotter close up at this size
    style = msgspec.structs.replace(style, face=face, ink=min(style.ink, 40))
    empty = rng.choice((1, 2)) if difficulty == "hard" else 0
    names = rng.sample(NAMES, count - empty)
    plates = [
        _plate(middle, name, rng.randint(10, 99), style) for middle, name in zip(middles[empty:], names, strict=True)
    ]
    plates += [Plate(middle) for middle in middles[:empty]]
    rng.shuffle(plates)
    ask: Ask = rng.choice(("value", "sum", "difference"))
    asked = tuple(rng.sample(names, 1 if ask == "value" else 2))
    question = rng.choice(QUESTIONS[ask]).format(*asked)
    problem = Far(width, height, tuple(plates), ask, asked, question, style, difficulty)
    legible = problem.answer and shared.is_legible(problem, _figure(problem), [plate.box for plate in plates], CROP)
    return problem if legible else None


def _plate(middle: Point, name: str, number: int, style: Style) -> Plate:
    x, y = middle
    return Plate(middle, shared.placed(name, (x, y - 5), style), shared.placed(str(number), (x, y + 5), style))


def _figure(problem: Far) -> Image.Image:
    """The picture without its labels: plates along a thin path."""
    style = problem.style
    image, pencil = shared.blank(problem.width, problem.height, style)
    for start, end in zip(problem.plates, problem.plates[1:], strict=False):
        sketch.line(pencil, start.middle, end.middle, msgspec.structs.replace(style, ink=170))
    for plate in problem.plates:
        pencil.rectangle(plate.box, fill=style.paper, outline=style.ink)
    return image
