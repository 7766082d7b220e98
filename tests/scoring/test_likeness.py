"""Likeness of texts, computed by hand and held against published functions."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import each_case

from virc.core.errors import SetupError
from virc.scoring import likeness

PUBLISHED = json.loads(Path(__file__).with_name("published_measures.json").read_bytes())["texts"]


def distance(one: str, other: str) -> int:
    """By the table of Wagner and Fischer."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        above, row = row, [at]
        for to, there in enumerate(other, 1):
            row.append(min(above[to] + 1, row[-1] + 1, above[to - 1] + (letter != there)))
    return row[-1]


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edits_are_those_of_the_table(one: str, other: str) -> None:
    longer = max(len(one), len(other))
    assert likeness.edit_similarity(one, other) == pytest.approx(1 - distance(one, other) / longer if longer else 1.0)


@each_case(
    ("said", "right", "inside", "share", "f1"),
    [
        ("a red car on the left", "Red car", True, 1 / 3, 0.5),
        ("red car", "red car", True, 1, 1),
        ("cathedral", "cat", False, 0, 0),
        ("car red", "red car", False, 0, 1),
        ("Über uns", "über", True, 0.5, 2 / 3),
        ("", "", False, 0, 1),
        ("", "a", False, 0, 0),
    ],
)
def test_spans_and_words_in_common(said: str, right: str, inside: bool, share: float, f1: float) -> None:
    assert likeness.contains(said, right) is inside
    assert likeness.span_precision(said, right) == pytest.approx(share)
    assert likeness.word_f1(said, right) == pytest.approx(f1)


def test_published_functions_give_the_same() -> None:
    assert len(PUBLISHED) >= 400
    for case in PUBLISHED:
        said, right = case["said"], case["right"]
        assert likeness.word_error_rate(said, right) == pytest.approx(case["error_rate"], abs=1e-9), case
        assert likeness.rouge_l(said, right) == pytest.approx(case["rouge_l"], abs=1e-9), case
        assert likeness.set_overlap(said.split(), right.split()) == pytest.approx(case["overlap"]), case


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc.core.extras.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="the likeness of texts needs rapidfuzz, of the extra eval") as raised:
        likeness.edit_similarity("a", "b")
    assert "[eval]" in str(raised.value.hint)
    with pytest.raises(SetupError, match="needs rapidfuzz"):
        likeness.rouge_l("a", "b")
    with pytest.raises(SetupError, match="needs jiwer"):
        likeness.word_error_rate("a", "b")
