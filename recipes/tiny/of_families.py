"""Training examples from any families: the tasks of `curriculum` for each family.

Characters first, then what a spot shows, where the spots of a page are, sums as text, and whole solutions in every
pattern. Pages are up to `problem.LARGEST` in area, over three times those of `tiny`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import msgspec
from PIL import Image

from tiny import sight
from tiny.curriculum import Example, boxes_text, driven, pair
from virc.data.synth import sketch, tasks, unfamiliar, worked
from virc.data.synth.families import registry as families
from virc.data.synth.glyphs import mask, plottable
from virc.data.synth.tasks import GRID, Task
from virc.data.synth.worked import Spot
from virc.reasoning.calls import Box, Call
from virc.reasoning.images import show
from virc.reasoning.session import Message
from virc.tools import scale

Make = Callable[[random.Random], Example]
Mix = Mapping[str, float]
_OFF = 10  # px by which a crop may miss its box


@cache
def characters(names: tuple[str, ...]) -> str:
    """Every character that labels of these families have."""
    rng, found = random.Random(0), set[str]()
    for name in names:
        for _ in range(200):
            found |= {c for label in families.get(name).generate(rng).labels for c in label.text}
    return "".join(sorted(found - set(" °")))


def read_characters(rng: random.Random, names: tuple[str, ...]) -> Example:
    """A label of a family, or one of its characters, on a small image, to be read."""
    problem = families.get(rng.choice(names)).generate(rng)
    text = rng.choice(problem.labels).text
    if rng.random() < 0.5:
        text = rng.choice(text.replace(" ", ""))
    image, _ = _slip(rng, text)
    return pair("Read.", text.replace("°", "").strip("()") or text, image)


def read_spot(rng: random.Random, name: str) -> Example:
    """What a spot shows, cropped slightly off its box, and enlarged where it is too small."""
    family = families.get(name)
    problem = family.generate(rng)
    spot = rng.choice(family.spots(problem))
    page = family.draw(problem)
    crop = page.crop(_missed(rng, spot, page))
    if spot.scale is not None:
        crop = show(scale.apply(Call("scale_image", 0, factor=spot.scale), crop), GRID).pixels
    return pair("Read.", spot.reads, crop)


def list_spots(rng: random.Random, name: str) -> Example:
    """A page: the box of every spot, in reading order."""
    family = families.get(name)
    problem = family.generate(rng)
    return pair("List.", boxes_text([spot.box for spot in family.spots(problem)]), family.draw(problem))


def sums(rng: random.Random, name: str) -> Example:
    """The last turn of a solution, whose earlier turns are given as text, without a picture."""
    family = families.get(name)
    problem = family.generate(rng)
    solution = family.solution(problem)
    *earlier, last = worked.replies(solution)
    given = [Message("user", text) for text in (problem.question, *earlier, solution.spots[-1].reads)]
    return Example([*given, Message("assistant", last)], [])


def path(rng: random.Random, name: str) -> Example:
    """A problem solved in one of the patterns, in the exact chat protocol of inference."""
    return _solved(tasks.task(rng, "train", families.get(name)))


def refusal(rng: random.Random, name: str) -> Example:
    """A picture or question that is none of the family's, refused."""
    return _solved(tasks.refusal(rng, "train", families.get(name)))


def direct(rng: random.Random, name: str) -> Example:
    """A problem answered from the overview without tools, for a control model."""
    family = families.get(name)
    problem = family.generate(rng)
    replies = worked.replies(family.solution(problem), "direct")
    return driven(problem.question, family.draw(problem), replies, GRID)


def all_tasks(names: tuple[str, ...]) -> Mapping[str, tuple[Make, int]]:
    """Every task of these families, and its examples per step, such that steps take about the same time."""
    each: Mapping[str, tuple[Callable[[random.Random, str], Example], int]] = {
        "read": (read_spot, 48), "list": (list_spots, 16), "sums": (sums, 48), "path": (path, 8),
        "refusal": (refusal, 12), "direct": (direct, 10),
    }  # fmt: skip
    found: dict[str, tuple[Make, int]] = {"characters": (partial(read_characters, names=names), 128)}
    for task, (make, count) in each.items():
        found |= {f"{task} {name}": (_bound(make, name), count) for name in names}
    return found


def _bound(make: Callable[[random.Random, str], Example], name: str) -> Make:
    return lambda rng: make(rng, name)


def all_phases(names: Sequence[str]) -> Mapping[str, tuple[Mix, Mix]]:
    """Shares of the tasks at the start and the end of each phase; families have equal parts in every task."""
    return {
        phase: (_spread(start, names), _spread(end, names))
        for phase, (start, end) in {
            "read": (
                {"characters": 0.35, "read": 0.45, "list": 0.1, "sums": 0.1},
                {"characters": 0.05, "read": 0.2, "list": 0.25, "sums": 0.1, "path": 0.35, "refusal": 0.05},
            ),
            "place": ({"read": 0.2, "list": 0.75, "sums": 0.05}, {"read": 0.1, "list": 0.6, "sums": 0.1, "path": 0.2}),
            "sft": (
                {"read": 0.15, "list": 0.2, "sums": 0.2, "path": 0.35, "refusal": 0.1},
                {"read": 0.05, "list": 0.05, "sums": 0.1, "path": 0.65, "refusal": 0.15},
            ),
            "direct": (
                {"read": 0.2, "list": 0.2, "sums": 0.2, "direct": 0.3, "refusal": 0.1},
                {"read": 0.05, "sums": 0.1, "direct": 0.7, "refusal": 0.15},
            ),
        }.items()
    }


def eye(names: tuple[str, ...]) -> sight.Eye:
    """The classes and images that the vision tower is trained on for these families."""
    return sight.Eye(
        (*characters(names), *sight.TURNS), partial(_page, names=names), partial(_labelled_slip, names=names)
    )


def _page(rng: random.Random, names: tuple[str, ...]) -> sight.Sample:
    """A page or a spot of one, and the characters on it; one in ten is a picture without any."""
    classes = eye(names).classes
    if rng.random() < 0.1:
        picture = unfamiliar.empty_picture(rng).resize((168, 84))
        return picture, sight.labels([], *picture.size, classes)
    family = families.get(rng.choice(names))
    problem = family.generate(rng)
    page, spots = family.draw(problem), family.spots(problem)
    found = [mark for label in problem.labels for mark in _marks(label.text, label.box)]
    if rng.random() < 0.6:
        middles = ((left + right) / 2 for left, _, right, _ in (spot.box for spot in spots))
        heights = ((top + bottom) / 2 for _, top, _, bottom in (spot.box for spot in spots))
        turns = list(zip(sight.TURNS, middles, heights, strict=False))
        return page, sight.labels([*found, *turns], *page.size, classes)
    left, top, right, bottom = _missed(rng, rng.choice(spots), page)
    cut = page.crop((left, top, right, bottom))
    return cut, sight.labels([(c, x - left, y - top) for c, x, y in found], *cut.size, classes)


def _labelled_slip(rng: random.Random, names: tuple[str, ...]) -> sight.Sample:
    text = "".join(rng.choices(characters(names), k=rng.choice((1, 2))))
    image, box = _slip(rng, text)
    return image, sight.labels(_marks(text, box), *image.size, eye(names).classes)


def _slip(rng: random.Random, text: str) -> tuple[Image.Image, Box]:
    """A text anywhere on a slip of paper that holds it, and its box."""
    face = sketch.random_style(rng).face
    if not plottable(text):
        face = msgspec.structs.replace(face, kind="sans")
    glyphs = mask(text, face)
    width, height = (-(-side // 28) * 28 for side in glyphs.size)
    paper = Image.new("L", (width, height), rng.choice((255, 255, 245)))
    left, top = rng.randint(0, width - glyphs.width), rng.randint(0, height - glyphs.height)
    paper.paste(rng.choice((0, 0, 40, 80)), (left, top), glyphs)
    return paper.convert("RGB"), (left, top, left + glyphs.width, top + glyphs.height)


def _marks(text: str, box: Box) -> list[sight.Mark]:
    """The characters of a label and their approximate positions; they share its width evenly."""
    step, y = (box[2] - box[0]) / len(text), (box[1] + box[3]) / 2
    return [(c, box[0] + (at + 0.5) * step, y) for at, c in enumerate(text) if c not in " °"]


def _missed(rng: random.Random, spot: Spot, page: Image.Image) -> Box:
    """The box of a spot, slightly off, inside the page."""
    left, top, right, bottom = spot.box
    dx = max(-left, min(page.width - right, rng.randint(-_OFF, _OFF)))
    dy = max(-top, min(page.height - bottom, rng.randint(-_OFF, _OFF)))
    return left + dx, top + dy, right + dx, bottom + dy


def _solved(task: Task) -> Example:
    (replies,) = task.paths.values()
    return driven(task.question, task.picture, replies, GRID)


def _spread(shares: Mix, names: Sequence[str]) -> Mix:
    spread: dict[str, float] = {}
    for task, share in shares.items():
        if task == "characters":
            spread[task] = share
        else:
            spread |= {f"{task} {name}": share / len(names) for name in names}
    return spread
