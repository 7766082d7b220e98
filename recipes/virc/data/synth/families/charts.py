"""Bars and lines over named columns: values to be read and compared or added.

Easy prints every value above its column. Hard prints none: values are read at numbered grid lines, and up to three of
more columns are needed for the answer.
"""

import random
from collections.abc import Mapping, Sequence

import msgspec
from PIL import Image

from virc.data.synth import shared, sketch, sums
from virc.data.synth.glyphs import mask
from virc.data.synth.plane import hull, inside
from virc.data.synth.problem import LARGEST, Difficulty, Label, Split, settled, split_of
from virc.data.synth.sketch import Style
from virc.data.synth.sums import Ask
from virc.data.synth.worked import Solution, Spot, searched
from virc.reasoning.calls import Box

NAME = "charts"
ABOUT = "bar and line charts whose values are read, compared or added"
NOUN = "column"
MAX_PIXELS = LARGEST
NAMES = (
    tuple("ABCDEFGHKLMPQRXY"),
    ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
ASKS: Mapping[Difficulty, Sequence[Ask]] = {
    "easy": ("value", "sum", "sum", "difference"),
    "hard": ("sum", "difference", "total"),
}
QUESTIONS: Mapping[Ask, Sequence[str]] = {
    "value": ("What is the value of {}?", "How high is {} in the chart?"),
    "sum": ("What is the sum of {} and {}?", "How much are {} and {} together?"),
    "difference": ("What is the difference between {} and {}?", "By how much do {} and {} differ?"),
    "total": ("What is the sum of {}, {} and {}?", "How much are {}, {} and {} together?"),
}
PITCH = 56  # px from one column to the next, and the width of its crop
_HEIGHTS = (196, 224, 252)
_COLUMNS: Mapping[Difficulty, Sequence[int]] = {"easy": (3, 4, 5), "hard": (4, 5, 6)}
_STEPS = (1, 2, 5, 10, 20)  # from one grid line to the next
_LINES = (6, 7, 8)
_TOP, _FOOT = 26, 30  # px of the page above the highest value and below the lowest


class Column(msgspec.Struct, frozen=True):
    """A column: its name, its value, and the label of the value where it is printed; `x` in px is its middle."""

    x: int
    value: int
    name: Label
    printed: Label | None


class Chart(msgspec.Struct, frozen=True):
    """One problem.

    Args:
        step: values from one grid line to the next; 0 where there are none.
        highest: the value at the upper end of the axis.
        asked: indices of the columns the question is about.
    """

    width: int
    height: int
    columns: tuple[Column, ...]
    step: int
    ticks: tuple[Label, ...]
    highest: int
    bars: bool
    fill: int
    ask: Ask
    asked: tuple[int, ...]
    question: str
    style: Style

    @property
    def difficulty(self) -> Difficulty:
        """By whether values are printed."""
        return "hard" if self.step else "easy"

    @property
    def answer(self) -> int:
        """The value, the sum, or the difference of the asked columns."""
        return sums.answer(self.ask, [self.columns[index].value for index in self.asked])

    @property
    def labels(self) -> Sequence[Label]:
        """Every text on the page."""
        printed = [column.printed for column in self.columns if column.printed]
        return [*self.ticks, *(column.name for column in self.columns), *printed]

    def split(self) -> Split:
        """By the columns and the question."""
        columns = [f"{column.name.text}{column.value}" for column in self.columns]
        asked = sorted(self.columns[index].name.text for index in self.asked)
        return split_of("|".join([NAME, self.ask, str(self.step), *columns, *asked]))


def generate(rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Chart:
    """A legible chart of that split."""
    chosen = settled(difficulty, rng)
    bars = rng.random() < 0.6
    return shared.draw_until_legible(lambda: _generate(rng, chosen, bars), split)


def draw(problem: Chart) -> Image.Image:
    """The picture, RGB, `width` x `height` px."""
    return shared.with_labels(_figure(problem), problem)


def counterfactual(problem: Chart, rng: random.Random) -> Chart:
    """The same chart and question with other values, and so other heights, so that the answer is another one."""
    while True:
        values = _values(rng, problem.step, problem.highest, len(problem.columns))
        columns = _columns(problem, [column.name.text for column in problem.columns], values)
        other = msgspec.structs.replace(problem, columns=columns)
        if other.answer != problem.answer and _legible(other):
            return other


def spots(problem: Chart) -> Sequence[Spot]:
    """The axis, where it has numbers, and every column, from left to right."""
    return [*_axis(problem), *(_strip(problem, column) for column in problem.columns)]


def solution(problem: Chart) -> Solution:
    """Read the columns up to the last asked one, then add or compare."""
    first = len(_axis(problem))
    needed = [first + index for index in problem.asked]
    values = [problem.columns[index].value for index in sorted(problem.asked)]
    names = [problem.columns[index].name.text for index in problem.asked]
    return sums.solution(problem.ask, names, values, NOUN, spots(problem)[: max(needed) + 1], needed)


def absent(problem: Chart, rng: random.Random) -> tuple[str, Solution]:
    """A question about a column that the chart does not have, and the search for it."""
    present = {column.name.text for column in problem.columns}
    names = next(names for names in NAMES if present <= set(names))
    missing = rng.choice([name for name in names if name not in present])
    asked = [missing, rng.choice(sorted(present))]
    question = rng.choice((*QUESTIONS["value"], *QUESTIONS["sum"], *QUESTIONS["difference"])).format(*asked)
    return question, searched(NOUN, spots(problem))


def _generate(rng: random.Random, difficulty: Difficulty, bars: bool) -> Chart | None:
    count = rng.choice(_COLUMNS[difficulty])
    width, height = PITCH * (count + 1), rng.choice(_HEIGHTS)
    if difficulty == "hard":
        step, lines = rng.choice(_STEPS), rng.choice(_LINES)
        highest = step * lines
    else:
        step, highest = 0, rng.choice((20, 50, 100))
    names = rng.choice([names for names in NAMES if len(names) >= count])
    style = sketch.random_style(rng)
    kind = style.face.kind if len(names[0]) == 1 else "sans"  # the plotter has capitals and digits alone
    face = msgspec.structs.replace(style.face, kind=kind, size=min(style.face.size, 12))
    style = msgspec.structs.replace(style, face=face, dashed=False)
    start = rng.randrange(len(names) - count + 1)
    chosen = rng.sample(names, count) if len(names[0]) == 1 else names[start : start + count]
    ask = rng.choice(ASKS[difficulty])
    asked = tuple(rng.sample(range(count), {"value": 1, "total": 3}.get(ask, 2)))
    question = rng.choice(QUESTIONS[ask]).format(*(chosen[index] for index in asked))
    fill = rng.choice((style.paper, 225, 200))
    problem = Chart(width, height, (), step, (), highest, bars, fill, ask, asked, question, style)
    columns = _columns(problem, chosen, _values(rng, step, highest, count))
    problem = msgspec.structs.replace(problem, columns=columns, ticks=_ticks(problem))
    return problem if problem.answer and _legible(problem) else None


def _values(rng: random.Random, step: int, highest: int, count: int) -> list[int]:
    """Different values, at grid lines where there are some."""
    return rng.sample(range(step, highest + 1, step) if step else range(highest // 10, highest), count)


def _y(problem: Chart, value: float) -> int:
    """The position of a value, px from the top."""
    return problem.height - _FOOT - round((problem.height - _TOP - _FOOT) * value / problem.highest)


def _columns(problem: Chart, names: Sequence[str], values: list[int]) -> tuple[Column, ...]:
    """Columns with their labels placed: a value is over its bar, and on a line where there is room."""
    found = []
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        x, y = PITCH * (index + 1) + PITCH // 2, _y(problem, value)
        named = shared.placed(name, (x, problem.height - _FOOT + 15), problem.style)
        beside = values[max(0, index - 1) : index] + values[index + 1 : index + 2]
        over = problem.bars or value * len(beside) >= sum(beside)
        printed = shared.placed(str(value), (x, y - 13 if over else y + 13), problem.style)
        found.append(Column(x, value, named, None if problem.step else printed))
    return tuple(found)


def _ticks(problem: Chart) -> tuple[Label, ...]:
    """The numbers at the grid lines, right-aligned before the axis."""
    found = []
    for value in range(0, problem.highest + 1, problem.step or problem.highest + 1):
        width, height = mask(str(value), problem.style.face).size
        left, top = PITCH - 8 - width, _y(problem, value) - height // 2
        found.append(Label(str(value), (left, top, left + width, top + height)))
    return tuple(found) if problem.step else ()


def _axis(problem: Chart) -> list[Spot]:
    """The crop of the numbers of the grid lines, which shows what one line is worth."""
    if not problem.step:
        return []
    again = 0, 0, PITCH + 28, problem.height
    return [Spot((0, 0, PITCH, problem.height), again, f"One line is {problem.step}.")]


def _strip(problem: Chart, column: Column) -> Spot:
    """The crop of a whole column; the second one is wider where the page allows."""
    left = column.x - PITCH // 2
    again = left - 14, 0, min(problem.width, left + PITCH + 14), problem.height
    reads = f"{column.name.text} is {column.value}."
    if problem.step:
        lines = column.value // problem.step
        reads = f"{column.name.text} is at line {lines}. {lines} · {problem.step} = {column.value}."
    return Spot((left, 0, left + PITCH, problem.height), again, reads)


def _legible(problem: Chart) -> bool:
    for column in problem.columns:
        strip: Box = column.x - PITCH // 2, 0, column.x + PITCH // 2, problem.height
        label = hull(column.name.box, column.printed.box) if column.printed else column.name.box
        if not inside(label, strip):
            return False
    return sketch.legible(_figure(problem), [label.box for label in problem.labels], problem.style)


def _figure(problem: Chart) -> Image.Image:
    """The picture without its labels."""
    style = problem.style
    image, pencil = shared.blank(problem.width, problem.height, style)
    base, right = _y(problem, 0), problem.width - 4
    for value in range(problem.step, problem.highest + 1, problem.step or problem.highest + 1):
        if problem.step:
            pencil.line((PITCH - 4, _y(problem, value), right, _y(problem, value)), fill=200)
    if problem.bars:
        for column in problem.columns:
            box = column.x - 13, _y(problem, column.value), column.x + 13, base
            pencil.rectangle(box, fill=problem.fill, outline=style.ink, width=style.line)
    else:
        points = [(column.x, _y(problem, column.value)) for column in problem.columns]
        pencil.line(points, fill=style.ink, width=style.line)
        for x, y in points:
            pencil.ellipse((x - 3, y - 3, x + 3, y + 3), fill=style.ink)
    pencil.line((PITCH - 2, _TOP - 8, PITCH - 2, base, right, base), fill=style.ink, width=style.line)
    return image
