"""Several accepted answers: the best match, and the metrics of published scorers (`published/accepted.json`)."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.tables import each_case

from virc.core.errors import DataError
from virc.scoring import accepted, answers, score
from virc.scoring.score import Key, Verdict, key_of

PUBLISHED = json.loads((Path(__file__).parent / "published" / "accepted.json").read_text())
LENGTH = Key("5 cm", answers=("5 cm", "5", "five centimetres"))


@each_case("name", ["anls", "vqa_accuracy"])
def test_values_are_those_of_the_published_scorer(name: str) -> None:
    metric = getattr(accepted, name)
    for said, right, value in PUBLISHED[name]["cases"]:
        assert metric(said, right) == pytest.approx(value), (said, right)


def test_answers_are_normalized_as_by_the_published_scorer() -> None:
    for text, normalized in PUBLISHED["normalized"]["cases"]:
        assert accepted.normalized(text) == normalized, text
    # a sign that stands beside a space anywhere goes, wherever it is; another becomes a space
    assert [accepted.normalized(text) for text in ("a-b", "a-b -c", "a-b c- d", "a-b c-\nd")] == [
        "b", "ab c", "ab c d", "ab c d",
    ]  # fmt: skip


def test_a_half_counts_in_anls() -> None:
    """The scorer of DocVQA drops what is under 0.5; the paper drops 0.5, too."""
    assert (accepted.anls("ac", ["ab"]), accepted.anls("abx", ["acy"])) == (0.5, 0.0)
    assert accepted.anls("", [""]) == 1.0


@each_case("scored", [score.score, answers.score])
@each_case(
    ("said", "key", "right"),
    [
        ("5", LENGTH, True), ("five centimetres", LENGTH, True), ("5 cm", LENGTH, True), ("6", LENGTH, False),
        ("New York City", Key("NYC", answers=("New York", "new york city")), True),
        ("B", Key("rubber", ("rubber", "cotton"), answers=("rubber", "cotton")), True),
        ("102", Key("50", tolerance=0.05, answers=("50", "100")), True), ("94", Key("50", answers=("100",)), False),
    ],
)  # fmt: skip
def test_an_answer_is_right_where_it_matches_any(scored: Any, said: str, key: Key, right: bool) -> None:
    assert (scored(said, key).right, scored(said, key).by) == (right, "rule")


@each_case("scored", [score.score, answers.score])
def test_algebra_is_asked_about_each_after_the_rules(scored: Any) -> None:
    asked: list[str] = []

    def symbolic(answer: str, reference: str) -> bool:
        asked.append(reference)
        return (answer, reference) == ("2(x+1)", "2x+2")

    key = Key("y^2", answers=("y^2", "2x+2", "z"))
    verdict = scored("2(x+1)", key, symbolic)
    assert (verdict.right, verdict.by) == (True, "symbolic")
    assert asked == ["y^2", "2x+2"]
    assert scored("z", key, symbolic).by == "rule"
    assert asked == ["y^2", "2x+2"]
    assert scored("3(x+1)", key, symbolic) == Verdict(False, "symbolic")


@each_case(
    ("fields", "expected"),
    [
        ({"answer": "a", "answers": ["a", "b"]}, ("a", "b")),
        ({"answers": ["a", "b", "a"]}, ("a", "b")),
        ({"answer": "c", "answers": ["a", 5]}, ("c", "a", "5")),
        ({"answer": "a", "answers": None}, ("a",)),
        ({"answers": ["['a', 'b']"]}, ("['a', 'b']",)),
        ({"answer": "[1, 2]"}, ("[1, 2]",)),
    ],
)
def test_the_accepted_answers_of_a_row(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert key_of(fields).accepted == expected


@each_case(
    ("fields", "reason"),
    [
        ({"answer": "['5 cm', '5']"}, "is the text of a list"), ({"answer": '["a"]'}, "is the text of a list"),
        ({"answer": "['a' \"it's\"]"}, "is the text of a list"), ({"answer": ["a", "b"]}, "array"),
        ({"answer": "a", "answers": "a"}, "answers"), ({"answer": "a", "answers": []}, "answers"),
        ({"answer": "a", "answers": [None]}, "answers"), ({"answers": [" "]}, "no answer"),
        ({"answer": "a", "metric": "f1"}, "metric"), ({"answer": "a", "metric": "vqa_accuracy"}, "several people"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_compared_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason) as refused:
        key_of(fields)
    if "list" in reason:
        assert '{"answers": ["5 cm", "5"]}' in (refused.value.hint or "")


@pytest.mark.parametrize(("times", "value"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_counts_people(times: int, value: float) -> None:
    people = ["stop"] * times + ["other"] * (10 - times)
    assert accepted.vqa_accuracy("Stop", people) == pytest.approx(value)


@pytest.mark.parametrize(
    ("said", "key", "value"),
    [
        ("ac", Key("ab", metric="anls"), 0.5),
        ("yes", Key("no", answers=("no", "yes", "yes"), metric="vqa_accuracy"), 4 / 9),
        ("ab", Key("ab"), None),
    ],
)
def test_an_answer_is_measured_by_the_metric_of_its_row(said: str, key: Key, value: float | None) -> None:
    assert accepted.measured(said, key) == pytest.approx(value)
