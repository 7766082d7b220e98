"""Terms of answers that are texts and numbers, each value computed by hand."""

import asyncio
import math
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewards.prompts import answer, crop, prompt, tool

from virc.core.errors import DataError
from virc.models.registry import EMBEDDED_FOLDER
from virc.rewards import judging
from virc.rewards import registry as rewards
from virc.rewards.means import Means, UnscoredError, means_of
from virc.rewards.registry import Term
from virc.rewards.sample import Prompt, sample
from virc.rewards.terms.text import penalty
from virc.scoring.likeness import rouge_l
from virc.scoring.symbolic import Symbolic
from virc.systems.registry import Judging

TERMS = {term.name: term for term in rewards.discover()[0]}
OF_ANSWERS = [
    *(
        "anls",
        "choice",
        "closeness",
        "exact",
        "number",
        "relative_accuracy",
        "rouge",
        "symbolic",
        "tool_bonus",
        "vqa_accuracy",
    ),
    *("iou", "giou", "ciou", "matching", "confidence", "point_in_box"),
]


def test_a_row_says_how_its_answer_is_compared() -> None:
    known = prompt(right="vi", answers=["vi", "VI"], choices=["vi", "x"], decimals=2, tolerance=0.5, metric="anls")
    key = known.key
    assert (key.metric, key.decimals, key.tolerance, key.choices) == ("anls", 2, 0.5, ("vi", "x"))
    assert {*key.answers} == {"vi", "VI"}


def value(name: str, reply: str, known: Prompt, means: Means | None = None) -> float | None:
    found = TERMS[name].score(sample(reply, known), means or Means())
    if isinstance(found, int | float | None):
        return found
    return asyncio.run(_awaited(found))


async def _awaited(found: Any) -> float | None:
    return await found  # type: ignore[no-any-return]


def test_terms_of_answers_do_not_apply_to_looks_and_faults() -> None:
    known = prompt(strict="own", box=[0, 0, 140, 98], choices=["5", "6"])
    for name in OF_ANSWERS:
        for reply in (tool(crop(0, 0, 9, 9)), "no tags"):
            term = TERMS[name]
            assert asyncio.run(_one(term, reply, known)) is None, name


async def _one(term: Term, reply: str, known: Prompt) -> float | None:
    found = term.score(sample(reply, known), Means())
    return found if isinstance(found, int | float | None) else await found


@pytest.mark.parametrize(
    ("said", "right", "same"), [("Red Car", "red  car", 1), ("red cars", "red car", 0), ("5.0", "5", 0), ("", "5", 0)]
)
def test_exact_is_of_texts_but_for_case_and_space(said: str, right: str, same: int) -> None:
    assert value("exact", answer(said), prompt(right=right, strict="own")) == same


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


def test_what_is_no_choice_cannot_be_scored_as_one() -> None:
    with pytest.raises(UnscoredError, match="no choices, and its answer is no letter"):
        value("choice", answer("B"), prompt(right="red car", strict="own"))


@pytest.mark.parametrize(
    ("said", "columns", "points"),
    [
        ("100", {}, 1),
        ("100.0 cm", {}, 1),
        ("101", {}, 0),
        ("95", {"tolerance": 0.05}, 1),
        ("94.9", {"tolerance": 0.05}, 0),
        ("100.4", {"decimals": 0}, 1),
        ("100.5", {"decimals": 0}, 0),
        ("a hundred", {}, 0),
    ],
)
def test_numbers_within_what_the_row_allows(said: str, columns: dict[str, Any], points: int) -> None:
    assert value("number", answer(said), prompt(right="100", strict="own", **columns)) == points


@pytest.mark.parametrize(
    ("said", "right", "near", "accuracy"),
    [
        # the error as a share; half a cosine at (error - 0.05) / 0.15; thresholds 0.05, 0.10 to 0.50 over it
        ("100", "100", 1.0, 1.0),  # 0
        ("105", "100", 1.0, 0.9),  # 0.05 is not under 0.05
        ("110", "100", 0.75, 0.8),  # 0.1: (1 + cos 60) / 2
        ("87.5", "100", 0.5, 0.8),  # 0.125: (1 + cos 90) / 2; all but 0.05 and 0.1
        ("85", "100", 0.25, 0.7),  # 0.15: (1 + cos 120) / 2
        ("80", "100", 0.0, 0.6),  # 0.2
        ("150", "100", 0.0, 0.0),  # 0.5 is not under 0.5
        ("149", "100", 0.0, 0.1),
        ("-100", "100", 0.0, 0.0),  # 2
        ("-110", "-100", 0.75, 0.8),
        ("0", "0", 1.0, 1.0),
        ("0.001", "0", 0.0, 0.0),
        ("about 100", "100", 0.0, 0.0),
        ("The answer is 110", "100", 0.75, 0.8),
        ("50%", "0.5", 1.0, 1.0),
    ],
)
def test_how_near_numbers_are(said: str, right: str, near: float, accuracy: float) -> None:
    known = prompt(right=right, strict="own")
    assert value("closeness", answer(said), known) == pytest.approx(near)
    assert value("relative_accuracy", answer(said), known) == pytest.approx(accuracy)


@pytest.mark.parametrize("name", ["number", "closeness", "relative_accuracy"])
def test_a_row_whose_answer_is_no_number_cannot_be_scored(name: str) -> None:
    with pytest.raises(UnscoredError, match="the right answer is no number"):
        value(name, answer("5"), prompt(right="five", strict="own"))


@pytest.mark.integration
def test_algebra_without_a_judge() -> None:
    known = prompt(right="2x+2", strict="own")
    with Symbolic() as symbolic:
        assert value("symbolic", answer("2(x+1)"), known, Means(symbolic=symbolic)) == 1.0
        assert value("symbolic", answer("2x+1"), known, Means(symbolic=symbolic)) == 0.0


@pytest.mark.parametrize(
    ("said", "right", "f1"),
    [
        ("the cat sat on the mat", "the cat on a mat", 8 / 11),  # the cat on mat: 4 of 6 and of 5 words
        ("a b c d", "a c b d", 0.75),  # a b d, or a c d
        ("The CAT!", "the-cat", 1.0),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("b a", "a b", 0.5),
        ("a b c d e f g h i j", "a b c d e f g h i k", 0.9),
    ],
)
def test_rouge_l(said: str, right: str, f1: float) -> None:
    assert value("rouge", answer(said), prompt(right=right, strict="own")) == pytest.approx(f1)


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
    ("said", "answers", "near"),
    [
        ("Coca Cola", ["coca cola"], 1.0),
        ("coca colo", ["coca cola"], 8 / 9),  # one of nine letters
        ("kitten", ["sitting"], 4 / 7),  # three edits of seven
        ("cats", ["dogs"], 0.0),  # three of four
        ("ab", ["ac"], 0.0),  # a half is not over a half
        ("pepsi", ["coca cola", "Pepsi"], 1.0),
        (" ".join(map(str, range(900))), ["y"], 0.0),
    ],
)
def test_anls(said: str, answers: list[str], near: float) -> None:
    known = prompt(right=answers[0], strict="own", answers=answers)
    assert value("anls", answer(said), known) == pytest.approx(near)


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
    means = Means(symbolic=_Algebra())
    assert value(name, answer(said), known, means) == pytest.approx(given)


class _Algebra(Symbolic):
    def __init__(self) -> None:
        pass

    def same(self, answer: str, reference: str) -> bool:
        return (answer, reference) == ("2(x+1)", "2x+2")


def test_the_algebra_that_is_there_is_asked_and_named() -> None:
    read = sample(answer("2(x+1)"), prompt(right="2x+2", strict="own"))
    for name in ("symbolic", "answer"):
        found: Any = TERMS[name].score(read, Means(symbolic=_Algebra()))
        assert (asyncio.run(_awaited(found)), read.why[name]) == (1.0, "by algebra")
    with pytest.raises(UnscoredError, match="needs math-verify"):
        value("symbolic", answer("5"), prompt(strict="own"))


def test_closed_means_leave_no_process_and_no_connection() -> None:
    closed = list[str]()
    used: dict[str, Any] = {
        name: SimpleNamespace(close=partial(closed.append, name)) for name in ("judge", "critic", "algebra")
    }
    Means(used["judge"], used["algebra"], judges={"critic": used["critic"]}).close()
    assert closed == ["judge", "critic", "algebra"]


def test_a_judge_that_was_never_asked_closes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = list[str]()
    monkeypatch.setattr(judging.Link, "close", lambda link: closed.append(link.endpoint))
    judging.Judge("http://127.0.0.1:9/v1").close()
    assert closed == ["http://127.0.0.1:9/v1"]


def test_vqa_accuracy_needs_the_answers_of_several_people() -> None:
    for columns in ({}, {"answers": ["5"]}):
        with pytest.raises(UnscoredError, match="several people"):
            value("vqa_accuracy", answer("5"), prompt(strict="own", **columns))


def test_answers_that_are_no_list_are_a_fault_of_the_row() -> None:
    with pytest.raises(DataError, match=r"answers"):
        value("anls", answer("5"), prompt(strict="own", answers="5"))


def test_likeness_without_its_package_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc.rewards.terms.text.find_spec", lambda name: None)
    for name in ("anls", "rouge"):
        with pytest.raises(UnscoredError, match="needs rapidfuzz"):
            value(name, answer("5"), prompt(strict="own"))


@pytest.mark.parametrize(
    ("text", "length", "taken"),
    [
        ("a b c d", 6, 0.0),  # no 6-gram
        ("a b c d e f g", 6, 0.0),  # two, both once
        ("a b a b a", 2, -0.5),  # ab ba ab ba: two of four
        ("A a A a", 1, -0.75),
        ("x y x y x y x y", 6, -1 / 3),  # three 6-grams, the third is the first
    ],
)
def test_words_that_come_again(text: str, length: int, taken: float) -> None:
    assert penalty(text, length) == pytest.approx(taken)


def test_the_term_counts_six_words_of_the_whole_reply() -> None:
    assert value("ngrams", "x y x y x y x y", prompt(strict="own")) == pytest.approx(-1 / 3)


@pytest.mark.parametrize(("tokens", "near"), [(1, 1.0), (512, 1.0), (513, 512 / 513), (1024, 0.5)])
def test_length_is_in_tokens_of_the_model(tokens: int, near: float) -> None:
    reply = answer("5")
    counted = Means(token_ids=lambda text: [0] * tokens if text == reply else [])
    assert value("length", reply, prompt(strict="own"), counted) == pytest.approx(near)
    with pytest.raises(UnscoredError, match="needs the model's tokenizer"):
        value("length", "no tags", prompt(strict="own"))


def test_tokens_are_those_of_the_tokenizer_beside_the_weights() -> None:
    """In its tokenizer a word of one digit is one token."""
    found = means_of(Judging(), None, None, lambda said: None, EMBEDDED_FOLDER)
    assert found.token_ids
    once, twice = found.token_ids("7"), found.token_ids("77")
    assert len(once) == 1
    assert twice == [*once, *once]
    assert not found.token_ids("")
    found.close()


def test_keywords_are_found_in_the_reply_without_case() -> None:
    known = prompt(strict="own", keywords=["Cat", "sofa", "window seat", "dog"])
    assert value("keywords", "a cat on the SOFA", known) == 0.5
    assert value("keywords", "a cat on the sofa", prompt(strict="own", keywords=[])) == 0.0
    asked = prompt(strict="own", keywords=["AB", "long"])
    assert (value("keywords", "5", asked), asked.question) == (0.0, "How long is AB?")
    with pytest.raises(UnscoredError, match="the row has no keywords"):
        value("keywords", "a cat", prompt(strict="own"))
    with pytest.raises(DataError, match="the row's keywords are no list of texts"):
        value("keywords", "a cat", prompt(strict="own", keywords="cat"))


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
@given(st.text(max_size=300) | st.text("0123456789.,-+eE[]{}()\"':% /\\", max_size=300))
def test_any_answer_has_a_finite_number(said: str) -> None:
    for name in RULES:
        found = value(name, answer(said), KNOWN)
        assert found is None or math.isfinite(found), name


@pytest.mark.parametrize(
    "said",
    [
        "[" * 20_000,
        "9" * 20_000,
        "[1,2,3,4]," * 3000,
        "[" + "1," * 20_000,
        "ab " * 3 + "c d e f " * 4000,
        "{'a': " * 9000,
    ],
    ids=["open", "digits", "boxes", "numbers", "words", "objects"],
)
def test_long_answers_take_no_time(said: str) -> None:
    read = sample("<think>a</think><answer>5</answer>", KNOWN)
    assert read.turn
    long = type(read)(said, KNOWN, type(read.turn)("a", answer=said))
    began = time.process_time()
    for name in set(RULES) - {"tool_bonus", "answer"}:
        found = TERMS[name].score(long, Means())
        assert found is None or math.isfinite(found), name  # type: ignore[arg-type]
    assert time.process_time() - began < 2
