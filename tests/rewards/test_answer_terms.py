"""Terms of answers that are texts and numbers, each value computed by hand."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rewards.prompts import answer, prompt
from support.tables import cases_of

from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample
from virc.scoring.likeness import rouge_l
from virc.scoring.symbolic import Symbolic

CASES = cases_of(__file__)

TERMS = {term.name: term for term in rewards.discover()[0]}


def value(name: str, reply: str, known: Prompt, context: RewardContext | None = None) -> float | None:
    found = TERMS[name].score(sample(reply, known), context or RewardContext())
    if isinstance(found, int | float | None):
        return found
    return asyncio.run(_awaited(found))


async def _awaited(found: Any) -> float | None:
    return await found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("said", "right", "choices", "points"),
    [
        ("B", "102", ["97", "102"], 1),
        ("(b) 102", "102", ["97", "102"], 1),
        ("102", "B", ["97", "102"], 1),
        ("A", "102", ["97", "102"], 0),
        ("C", "C", None, 1),
        ("the answer is (C)", "C", None, 1),
        ("D", "C. red", None, 0),
        ("C", "C. red", None, 1),
    ],
)
def test_choices_by_letter_or_content(said: str, right: str, choices: list[str] | None, points: int) -> None:
    columns = {"choices": choices} if choices else {}
    assert value("choice", answer(said), prompt(right=right, strict="own", **columns)) == points


@pytest.mark.parametrize(("said", "right", "near", "accuracy"), CASES["how_near_numbers_are"])
def test_how_near_numbers_are(said: str, right: str, near: float, accuracy: float) -> None:
    known = prompt(right=right, strict="own")
    assert value("closeness", answer(said), known) == pytest.approx(near)
    assert value("relative_accuracy", answer(said), known) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("said", "right", "f1"),
    [
        ("The quick brown fox, jumped over 2 dogs.", "a quick fox jumped over the 2 lazy dogs", 0.7058823529411765),
        ("x-ray of café no. 7", "X ray of the cafe no 7", 0.7692307692307692),
        ("to be or not to be", "not to be or to be that is", 0.7142857142857143),
        ("sum = 3.14 cm^2", "the sum is 3.14 cm", 0.7272727272727272),
    ],
)
def test_rouge_l_is_that_of_rouge_score(said: str, right: str, f1: float) -> None:
    """As rouge-score 0.1.2 gave it."""
    assert rouge_l(said, right) == pytest.approx(f1, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "said", "given"),
    [
        ("answer", "6", 1), ("answer", "7", 0), ("exact", "SIX", 1), ("number", "6.0", 1), ("closeness", "6", 1),
        ("relative_accuracy", "6", 1), ("rouge", "six", 1), ("anls", "Six", 1), ("symbolic", "6", 1),
        ("vqa_accuracy", "6", 0.9), ("vqa_accuracy", "5", 0.3),
    ],
)  # fmt: skip
def test_of_several_accepted_answers_the_best_match_counts(name: str, said: str, given: float) -> None:
    known = prompt(right="5", strict="own", answers=["5", "6", "six", "6.", "7?", "-", "-", "-", "-", "-"])
    context = RewardContext(symbolic=_Algebra())
    assert value(name, answer(said), known, context) == pytest.approx(given)


class _Algebra(Symbolic):
    def __init__(self) -> None:
        pass

    def same(self, answer: str, reference: str) -> bool:
        return (answer, reference) == ("2(x+1)", "2x+2")


RULES = sorted(set(TERMS) - {"symbolic", "focus", "reasoning", "length"})
KNOWN = prompt(
    right="100",
    strict="own",
    boxes=[[0, 0, 140, 98], [140, 0, 280, 98]],
    keywords=["a"],
    choices=["1", "100"],
    answers=["100", "100.0"],
)


@pytest.mark.integration
@settings(deadline=2000, max_examples=100)
@example("1E400")
@given(st.text(max_size=300) | st.text("0123456789.,-+eE[]{}()\"':% /\\", max_size=300))
def test_any_answer_has_a_finite_number(said: str) -> None:
    for name in RULES:
        found = value(name, answer(said), KNOWN)
        assert found is None or math.isfinite(found), name
