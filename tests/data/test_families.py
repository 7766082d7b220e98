"""Every family: what is drawn is what is asked, boxes are exact, splits are disjoint, worked solutions are right."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from math import dist
from typing import Any, get_args

import msgspec
import pytest
from PIL import Image, ImageChops

from virc.core.errors import UsageError
from virc.data.synth import worked
from virc.data.synth.families import registry as families
from virc.data.synth.families import sheets
from virc.data.synth.families.registry import Problem
from virc.data.synth.problem import DIFFICULTIES, LARGEST, Difficulty, Label, Split, inside, meet
from virc.data.synth.sketch import Face, mask
from virc.reasoning.calls import Box
from virc.reasoning.resize import Grid
from virc.reasoning.session import Done, Reply, Session, Unit
from virc.tools.registry import known

NAMES = families.names()
NEW = [name for name in NAMES if name != "polygons"]  # which has tests of its own
COUNT = 25
FEW: Mapping[str, int] = {"sheets": 3}
"""Of how many problems pages are drawn, where a page takes long."""
integration = pytest.mark.integration
CASES = [pytest.param(name, each, marks=integration) for name in NAMES for each in DIFFICULTIES]
every = pytest.mark.parametrize(("name", "difficulty"), CASES)
HARD = [pytest.param(name, "hard") for name in NEW]
every_new = pytest.mark.parametrize(
    ("name", "difficulty"), [*HARD, *(case for case in CASES if case.values[0] in NEW and case.values[1] == "easy")]
)
every_by_default = pytest.mark.parametrize(
    ("name", "difficulty"), [case if case.values[0] in FEW else case.values for case in CASES]
)
every_page = pytest.mark.parametrize(
    ("name", "difficulty"), [case if case.values == ("sheets", "easy") else case.values for case in CASES]
)


@cache
def drawn(name: str, difficulty: Difficulty, split: Split = "train", count: int = COUNT) -> list[Any]:
    rng = random.Random(f"{name} {difficulty} {split}")
    return [families.get(name).generate(rng, split, difficulty) for _ in range(count)]


def middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def nearest(labels: Sequence[Label], to: tuple[float, float]) -> Label:
    return min(labels, key=lambda label: dist(middle(label.box), to))


def numbers(labels: Sequence[Label]) -> list[Label]:
    return [label for label in labels if label.text.isdigit()]


def test_a_family_is_called_as_its_file_and_says_what_it_is() -> None:
    assert {"polygons", "sheets"} == set(NAMES)
    for name in NAMES:
        family = families.get(name)
        assert name == family.NAME
        assert family.ABOUT[0].islower()
    with pytest.raises(UsageError, match="no family 'sheet'") as raised:
        families.get("sheet")
    assert "sheets" in str(raised.value.hint)


@every_by_default
def test_the_same_seed_draws_the_same_problem_and_another_seed_another(name: str, difficulty: Difficulty) -> None:
    family = families.get(name)
    first, again, other = (family.generate(random.Random(seed), difficulty=difficulty) for seed in (1, 1, 2))
    assert first == again != other
    assert family.draw(first).tobytes() == family.draw(again).tobytes()
    assert first.difficulty == difficulty
    mixed = {family.generate(random.Random(seed)).difficulty for seed in range(20)}
    assert mixed == set(DIFFICULTIES)


@every_by_default
def test_pictures_are_shown_as_they_are(name: str, difficulty: Difficulty) -> None:
    for problem in drawn(name, difficulty)[: FEW.get(name)]:
        width, height = families.get(name).draw(problem).size
        assert width % 28 == height % 28 == 0
        assert width * height <= families.get(name).MAX_PIXELS
        assert name == "sheets" or families.get(name).MAX_PIXELS <= LARGEST


@every_by_default
def test_labels_lie_on_the_page_and_apart(name: str, difficulty: Difficulty) -> None:
    for problem in drawn(name, difficulty)[: FEW.get(name)]:
        page = (0, 0, *families.get(name).draw(problem).size)
        boxes = [label.box for label in problem.labels]
        assert all(inside(box, page) for box in boxes)
        assert not any(meet(one, other) for at, one in enumerate(boxes) for other in boxes[:at])


@every_new
def test_a_label_box_holds_the_ink_of_its_label_and_no_other(name: str, difficulty: Difficulty) -> None:
    for problem in drawn(name, difficulty)[: FEW.get(name)]:
        page = families.get(name).draw(problem).convert("L")
        for label in problem.labels:
            glyphs = mask(label.text, problem.style.face)
            alone = Image.new("L", glyphs.size, problem.style.paper)
            alone.paste(problem.style.ink, (0, 0), glyphs)
            there = page.crop(label.box)
            assert there.size == alone.size
            assert ImageChops.difference(there, alone).getbbox() is None, label
            ink = ImageChops.difference(there, Image.new("L", there.size, problem.style.paper)).getbbox()
            assert ink is not None
            assert all(abs(edge - side) <= 1 for edge, side in zip(ink, (0, 0, *there.size), strict=True))


@every_by_default
def test_both_faces_have_every_character(name: str, difficulty: Difficulty) -> None:
    """A character that a face lacks is drawn as a box, the same for all of them."""
    for problem in drawn(name, difficulty):
        face = msgspec.structs.replace(problem.style.face, size=20)
        for character in set("".join(label.text for label in problem.labels)) - {" "}:
            if face.kind == "sans":
                assert mask(character, face).tobytes() != mask("\uffff", face).tobytes(), character
            assert mask(character, face).getextrema()[1] == 255


def polygon_angle(problem: Problem) -> Fraction:
    texts = [label.text for label in problem.labels]
    printed = dict(zip(texts[::2], texts[1::2], strict=True))
    asked = re.findall(r"(?:∠|\bangle )([A-Z])\b", problem.question)[0]
    known = [int(text) for text in printed.values() if text != "?"]
    return Fraction(int(printed[asked]) if printed[asked] != "?" else 180 * (len(printed) - 2) - sum(known))


def mapped(problem: Problem) -> Fraction:
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


SOLVED: Mapping[str, Callable[[Problem], Fraction]] = {"polygons": polygon_angle, "sheets": mapped}


@every_by_default
def test_the_answer_follows_from_what_is_printed(name: str, difficulty: Difficulty) -> None:
    for problem in drawn(name, difficulty):
        assert SOLVED[name](problem) == problem.answer > 0, problem.question
    assert len({problem.answer for problem in drawn(name, difficulty)}) > COUNT // 3


@every
def test_a_split_is_of_what_is_printed_and_asked_not_of_how(name: str, difficulty: Difficulty) -> None:
    for split in get_args(Split):
        for problem in drawn(name, difficulty, split, 10):
            style = msgspec.structs.replace(problem.style, face=Face("plotter", 9), ink=80, paper=245)
            again = msgspec.structs.replace(problem, style=style)
            again = msgspec.structs.replace(again, question="In other words?")
            assert again.split() == problem.split() == split


@every_by_default
def test_how_a_problem_is_drawn_is_not_in_the_key_of_its_split(
    name: str, difficulty: Difficulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, family = drawn(name, difficulty)[0], families.get(name)
    monkeypatch.setattr(family, "split_of", lambda key: key)
    other = msgspec.structs.replace(problem.style, face=Face("plotter", 9), ink=80, paper=245, line=7, dashed=True)
    assert msgspec.structs.replace(problem, style=other).split() == problem.split()


@every
def test_one_in_ten_problems_is_held_out(name: str, difficulty: Difficulty) -> None:
    told = {
        split: {(*sorted(label.text for label in problem.labels), problem.answer) for problem in found}
        for split in get_args(Split)
        for found in [drawn(name, difficulty, split)]
    }
    assert all(len(each) > COUNT * 3 // 4 for each in told.values())
    assert not told["train"] & told["heldout"]


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


@every_page
def test_spots_hold_whole_labels_and_what_they_read_stands_there(name: str, difficulty: Difficulty) -> None:
    for problem in drawn(name, difficulty)[: FEW.get(name)]:
        page = (0, 0, *families.get(name).draw(problem).size)
        spots = families.get(name).spots(problem)
        assert len({spot.box for spot in spots}) == len(spots)
        for spot in spots:
            assert inside(spot.box, page)
            assert inside(spot.again, page)
            seen, again = (
                {label.text for label in problem.labels if inside(label.box, box)} for box in (spot.box, spot.again)
            )
            products = re.findall(r"(\d+) · (\d+) = (\d+)", spot.reads)
            assert all(int(one) * int(other) == int(product) for one, other, product in products)
            if name == "polygons":
                letter, value = spot.reads.removesuffix(".").split(" is ")
                assert {letter, value} <= seen & again
            if name == "sheets":
                assert spot.reads.split(" is ")[1].removesuffix(".") in seen & again


@every_by_default
def test_worked_sums_are_true(name: str, difficulty: Difficulty) -> None:
    signs: Mapping[str, Callable[[int, int], Fraction]] = {
        "+": lambda a, b: Fraction(a + b),
        "-": lambda a, b: Fraction(a - b),
        "·": lambda a, b: Fraction(a * b),
        ":": Fraction,
    }
    for problem in drawn(name, difficulty):
        text = families.get(name).solution(problem).sums
        said = re.findall(r"(\d+) ([-+·:]) (\d+) = (-?\d+)\.", text)
        assert all(signs[sign](int(a), int(b)) == int(c) for a, sign, b, c in said), text
        assert text.endswith((f" {problem.answer}.", "That is the one.")), text


def test_sums_go_by_places() -> None:
    assert sheets.moved(54, [-20, 5]) == (["54 - 20 = 34.", "34 + 5 = 39."], 39)
    assert sheets.moved(99, [11]) == (["99 + 10 = 109.", "109 + 1 = 110."], 110)


@every_page
def test_what_is_not_there_is_searched_for_and_refused(name: str, difficulty: Difficulty) -> None:
    family, rng = families.get(name), random.Random(4)
    for problem in drawn(name, difficulty)[: FEW.get(name, 8)]:
        question, search = family.absent(problem, rng)
        there = {label.text for label in problem.labels}
        asked = set(re.findall(r"\b(?:[A-Z][a-z]{2}|[A-Z])\b", question)) - {"How", "Find"}
        asked |= {letter for word in re.findall(r"\b[A-Z]{2,}\b", question) for letter in word}
        asked |= set(re.findall(r"\b[A-G][1-5]\b", question)) - set(getattr(problem, "numbers", ()))
        assert asked - there, question
        session = Session(worked.PROTOCOL, question, [family.draw(problem)], tolerate=(), tools=known())
        for text in worked.replies(search):
            assert isinstance(session.feed(Reply(text)), Unit)
        done = session.next()
        assert isinstance(done, Done)
        assert done.trace.failure is not None
        assert done.trace.failure.kind == "no_answer"
