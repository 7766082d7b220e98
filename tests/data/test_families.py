"""Every family: what is drawn is what is asked, boxes are exact, splits are disjoint, worked solutions are right."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import msgspec
import pytest
from PIL import ImageChops

from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.data.synth.families import registry as families
from virc.data.synth.families.registry import DrawnProblem
from virc.data.synth.problem import DIFFICULTIES, LARGEST, Difficulty, Split, inside
from virc.data.synth.sketch import Face, mask
from virc.reasoning.resize import Grid
from virc.reasoning.session import Done, Reply, Session, Unit
from virc.tools.registry import known

NAMES = [name for name in families.names() if not hasattr(families.get(name), "write")]
COUNT = 25
FEW: Mapping[str, int] = {"sheets": 3}
"""Of how many problems pages are drawn, where a page takes long."""
integration = pytest.mark.integration
CASES = [pytest.param(name, each, marks=integration) for name in NAMES for each in DIFFICULTIES]
every = pytest.mark.parametrize(("name", "difficulty"), CASES)
every_by_default = pytest.mark.parametrize(
    ("name", "difficulty"), [case if case.values[0] in FEW else case.values for case in CASES]
)


@cache
def drawn(name: str, difficulty: Difficulty, split: Split = "train", count: int = COUNT) -> list[Any]:
    rng = random.Random(f"{name} {difficulty} {split}")
    return [families.get(name).generate(rng, split, difficulty) for _ in range(count)]


def polygon_angle(problem: DrawnProblem) -> Fraction:
    texts = [label.text for label in problem.labels]
    printed = dict(zip(texts[::2], texts[1::2], strict=True))
    asked = re.findall(r"(?:∠|\bangle )([A-Z])\b", problem.question)[0]
    known = [int(text) for text in printed.values() if text != "?"]
    return Fraction(int(printed[asked]) if printed[asked] != "?" else 180 * (len(printed) - 2) - sum(known))


def mapped(problem: DrawnProblem) -> Fraction:
    """Squares of 504 px, from 252 px on."""
    found = []
    for column, row in re.findall(r"\b([A-G])([1-5])\b", problem.question):
        left, top = (252 + 504 * names.index(name) for names, name in (("ABCDEFG", column), ("12345", row)))
        square = (left, top, left + 504, top + 504)
        found += [int(label.text) for label in problem.labels if inside(label.box, square)]
    return combined(problem.question, found)


def combined(question: str, values: Sequence[int]) -> Fraction:
    if "differ" in question:
        return Fraction(max(values) - min(values))
    assert len(values) == 1 or "sum" in question or "together" in question
    return Fraction(sum(values))


SOLVED: Mapping[str, Callable[[DrawnProblem], Fraction]] = {"polygons": polygon_angle, "sheets": mapped}


@every
def test_a_split_is_of_what_is_printed_and_asked_not_of_how(name: str, difficulty: Difficulty) -> None:
    for split in get_args(Split):
        for problem in drawn(name, difficulty, split, 10):
            style = msgspec.structs.replace(problem.style, face=Face("plotter", 9), ink=80, paper=245)
            again = msgspec.structs.replace(problem, style=style)
            again = msgspec.structs.replace(again, question="In other words?")
            assert again.split() == problem.split() == split


@every_by_default
def test_a_counterfactual_has_another_answer_and_the_same_figure_and_question(
    name: str, difficulty: Difficulty
) -> None:
    family, rng = families.get(name), random.Random(3)
    for problem in drawn(name, difficulty)[: FEW.get(name)]:
        other = family.counterfactual(problem, rng)
        assert other.question == problem.question
        assert other.answer != problem.answer
        assert SOLVED[name](other) == other.answer
        ours, theirs = (
            sorted(label.text for label in each.labels if label.text.isalpha()) for each in (problem, other)
        )
        assert ours == theirs
        if name == "polygons":  # which may cross their labels
            continue
        pages = [family.draw(each) for each in (problem, other)]
        for label in (*problem.labels, *other.labels):
            for page in pages:
                page.paste("white", label.box)
        assert ImageChops.difference(*pages).getbbox() is None


@every_by_default
@pytest.mark.parametrize("pattern", worked.PATTERNS)
def test_every_path_runs_through_session_to_the_right_answer(
    name: str, difficulty: Difficulty, pattern: worked.Pattern
) -> None:
    family = families.get(name)
    for problem in drawn(name, difficulty)[: FEW.get(name, 8)]:
        solution = family.solution(problem)
        session = Session(
            worked.PROTOCOL,
            problem.question,
            [family.draw(problem)],
            Grid(max_pixels=LARGEST),
            tolerate=(),
            tools=known(),
        )
        texts = worked.replies(solution, pattern, random.Random(1))
        page = family.draw(problem).size
        units = [session.feed(Reply(worked.as_shown(text, session.images, page))) for text in texts]
        done = session.next()
        assert isinstance(done, Done)
        assert done.trace.answer == str(problem.answer)
        assert all(isinstance(unit, Unit) for unit in units)
        crops = [unit.call for unit in done.trace.units if unit.call and unit.call.name == "crop_image"]
        each = 2 if name == "sheets" else 1
        assert len(crops) == each * (len(solution.spots) + ("verify" in pattern))
        assert (solution.plan in texts[0]) == ("plan" in pattern)
        assert any(worked.AGREES in text for text in texts) == ("verify" in pattern)
        needed = range(len(solution.spots)) if solution.needed is None else solution.needed
        again = {str(list(solution.spots[at].again)) for at in needed}
        assert all(any(box in text for box in again) for text in texts[:-1] if worked.AGAIN in text and each == 1)


def many(count: int = 200, split: Split = "train") -> list[polygons.Diagram]:
    rng = random.Random(5)
    return [polygons.generate(rng, split) for _ in range(count)]


def test_a_label_box_holds_all_ink_of_its_label_and_nothing_less() -> None:
    """Drawing without one label changes pixels exactly inside its box."""
    for diagram in many(40):
        whole = polygons.draw(diagram)
        for index, corner in enumerate(diagram.corners):
            empty = mask("°", Face(size=1))
            moved = msgspec.structs.replace(corner, value_box=(0, 0, *empty.size), printed="1")
            corners = (*diagram.corners[:index], moved, *diagram.corners[index + 1 :])
            without = polygons.draw(msgspec.structs.replace(diagram, corners=corners))
            changed = ImageChops.difference(whole, without)
            changed.paste(0, (0, 0, 20, 20))  # where the moved label went
            box = changed.getbbox()
            assert box is not None
            assert inside(box, corner.value_box)
            assert abs(box[2] - box[0] - (corner.value_box[2] - corner.value_box[0])) <= 4
