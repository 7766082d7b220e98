"""One drawn problem with its solutions, or its refusal: the content of a row of a synthetic dataset."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.data.synth import unfamiliar, worked
from virc.data.synth.families import polygons
from virc.data.synth.families.registry import Family
from virc.data.synth.problem import LARGEST, Difficulty, Drawing, Label, Split
from virc.data.synth.worked import Pattern
from virc.reasoning.resize import Grid, smart_resize
from virc.scoring.score import UNREADABLE

GRID = Grid(max_pixels=LARGEST)
_SHARES = {"stranger": 0.5, "small": 0.25, "absent": 0.25}  # of the refusals, by reason; the names are in rows
_SHARES_BEFORE = {"stranger": 0.5, "question": 0.25, "absent": 0.25}
_MAX_UNREADABLE = 2  # px: so high are the largest digits of a figure that is too small to read
_PRINTED: Mapping[Drawing, bool | None] = {1: None, 2: False}


class Counterfactual(msgspec.Struct, frozen=True):
    """The same figure and question with other values, so that the answer is another one."""

    picture: Image.Image
    answer: str


class Task(msgspec.Struct, frozen=True):
    """A problem and its solutions.

    Args:
        answer: `unreadable` where it has none.
        paths: assistant turns by the name of their pattern; the first is the problem's own.
        about: further fields of its row; those of a family have a `category` and the exact boxes of all labels, px.
        counterfactual: None where none is wanted, and of a problem that has no answer.
    """

    question: str
    picture: Image.Image
    answer: str
    paths: Mapping[str, Sequence[str]]
    about: Mapping[str, Any]
    counterfactual: Counterfactual | None = None


def polygon(rng: random.Random, split: Split, sides: Sequence[int], drawing: Drawing = 2) -> Task:
    diagram = polygons.generate(rng, split, sides=sides, printed=_PRINTED[drawing])
    corners = [
        {
            "letter": corner.letter,
            "printed": corner.printed,
            "letter_box": corner.letter_box,
            "value_box": corner.value_box,
            "crop": polygons.crop_of(corner, diagram.width, diagram.height),
        }
        for corner in diagram.reading_order()
    ]
    replies = worked.replies(polygons.solution(diagram))
    return Task(diagram.question, polygons.draw(diagram), str(diagram.answer), {"look": replies}, {"corners": corners})


def task(
    rng: random.Random,
    split: Split,
    family: Family,
    difficulty: Difficulty | None = None,
    paths: int = 1,
    *,
    pattern: Pattern | None = None,
    counterfactual_rng: random.Random | None = None,
    drawing: Drawing = 2,
) -> Task:
    """A problem of a family, solved in so many different paths, of one `pattern` or at most one per pattern."""
    problem = _problem(rng, split, family, difficulty, drawing)
    solution = family.solution(problem)
    patterns = [pattern] if pattern else rng.sample(worked.PATTERNS, paths)
    other = family.counterfactual(problem, counterfactual_rng) if counterfactual_rng else None
    return Task(
        problem.question,
        family.draw(problem),
        solution.answer,
        {name: worked.replies(solution, name, rng) for name in patterns},
        _about(family, problem, [spot.box for spot in solution.spots]),
        Counterfactual(family.draw(other), family.solution(other).answer) if other else None,
    )


def refusal(
    rng: random.Random,
    split: Split,
    family: Family,
    difficulty: Difficulty | None = None,
    *,
    direct: bool = False,
    drawing: Drawing = 2,
) -> Task:
    """A picture from outside the family, one too small to read, or a question about what it does not show."""
    problem = _problem(rng, split, family, difficulty, drawing)
    shares = _SHARES if drawing == 2 else _SHARES_BEFORE
    wrong = rng.choices(list(shares), list(shares.values()))[0]
    about = _about(family, problem, [])
    about["category"]["refusal"] = wrong
    if wrong == "absent":
        question, search = family.absent(problem, rng)
        replies = worked.replies(search, "direct" if direct else "look")
        about["looks"] = [spot.box for spot in search.spots]
        return Task(question, family.draw(problem), UNREADABLE, {"search": replies}, about)
    refused = {"refuse": [worked.REFUSAL]}
    if wrong == "question":
        return Task(unfamiliar.question(rng), family.draw(problem), UNREADABLE, refused, about)
    picture = _unreadable(family.draw(problem), problem.labels) if wrong == "small" else unfamiliar.picture(rng)
    size = smart_resize(*picture.size, Grid(max_pixels=family.MAX_PIXELS))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    question = problem.question if drawing == 2 or rng.random() < 0.6 else unfamiliar.question(rng)
    return Task(question, picture, UNREADABLE, refused, {"category": about["category"]})


def _problem(rng: random.Random, split: Split, family: Family, difficulty: Difficulty | None, drawing: Drawing) -> Any:
    if family.NAME == polygons.NAME:
        return polygons.generate(rng, split, difficulty, printed=_PRINTED[drawing])
    return family.generate(rng, split, difficulty)


def _unreadable(picture: Image.Image, labels: Sequence[Label]) -> Image.Image:
    by = _MAX_UNREADABLE / max(label.box[3] - label.box[1] for label in labels)
    return picture.resize((round(picture.width * by), round(picture.height * by)), Image.Resampling.BOX)


def _about(family: Family, problem: Any, looks: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "category": {"family": family.NAME, "difficulty": problem.difficulty},
        "labels": [{"text": label.text, "box": label.box} for label in problem.labels],
        "looks": looks,
    }
