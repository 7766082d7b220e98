"""What several families share: drawing until a problem is legible, crops of labels, and named corners of polygons."""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from PIL import Image, ImageDraw

from virc.data.synth import sketch
from virc.data.synth.glyphs import mask
from virc.data.synth.plane import Point, around, unit
from virc.data.synth.problem import Label, Split
from virc.data.synth.sketch import Style

FIGURES = {3: "triangle", 4: "quadrilateral"}


P = TypeVar("P")
"""A problem of any family; see `families.registry.Problem`."""


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


def with_labels(figure: Image.Image, problem: Any) -> Image.Image:
    """The finished picture, RGB."""
    for label in problem.labels:
        sketch.label(figure, label.text, label.box, problem.style)
    return figure.convert("RGB")


def placed(text: str, middle: Point, style: Style) -> Label:
    """A label around a point."""
    return Label(text, around(middle, mask(text, style.face).size))


def bisector(points: Sequence[Point], index: int) -> Point:
    """The direction from a corner of a polygon into it, halfway between its sides."""
    corner = points[index]
    one, two = unit(corner, points[index - 1]), unit(corner, points[(index + 1) % len(points)])
    return unit((0, 0), (one[0] + two[0], one[1] + two[1]))


def other_angles(rng: random.Random, count: int, least: int, asked: int, answer: int) -> list[int]:
    """Angles of a polygon from `least` to 140 degrees, of which the asked one is not `answer`."""
    while True:
        degrees = [rng.randint(least, 140) for _ in range(count - 1)]
        degrees.append(180 * (count - 2) - sum(degrees))
        if least <= degrees[-1] <= 140 and degrees[asked] != answer:
            return degrees


def from_smallest(texts: Sequence[str]) -> list[str]:
    """Texts around a figure, counted from the smallest, so that it does not matter which corner is the first."""
    start = texts.index(min(texts))
    return [*texts[start:], *texts[:start]]


def question_about(rng: random.Random, templates: Sequence[str], letters: Sequence[str], asked: int) -> str:
    """A question about a corner; a name of the figure in it starts at any corner and runs either way around."""
    start, step = rng.randrange(len(letters)), rng.choice((1, -1))
    name = "".join(letters[(start + step * i) % len(letters)] for i in range(len(letters)))
    return rng.choice(templates).format(figure=FIGURES[len(letters)], name=name, corner=letters[asked])


def question_about_none(
    rng: random.Random, templates: Sequence[str], letters: str, present: set[str]
) -> tuple[str, str]:
    """A question about a corner that is none of those present, and the letter of that corner."""
    chosen = rng.sample([letter for letter in letters if letter not in present], len(present))
    figure, name = FIGURES[len(present)], "".join(chosen)
    return rng.choice(templates).format(figure=figure, name=name, corner=chosen[0]), chosen[0]
