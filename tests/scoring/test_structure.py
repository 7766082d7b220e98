"""Credit for parts, by hand and against the published functions (`published/structure.json`)."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import each_case

from virc.scoring import structure
from virc.scoring.structure import FULL, PARTIAL, PENALTY, agree, calls, cells, closeness, faded, items, table

PUBLISHED = json.loads((Path(__file__).parent / "published" / "structure.json").read_text())
OURS: dict[str, Callable[..., float]] = {
    "items": lambda said, right, levels: items(calls(said), calls(right), getattr(structure, levels)),
    "closeness": lambda said, right: closeness(float(said), float(right)),
    "agree": agree,
}
GOLD = "| Year | Sales | Cost |\n|---|:--:|--|\n| 2020 | 100 | low |\n| 2021 | 40% | high |"


@each_case("name", OURS)
def test_published_values_are_ours(name: str) -> None:
    known: dict[str, Any] = PUBLISHED[name]
    differing = {at for at, (*given, value) in enumerate(known["cases"])
                 if OURS[name](*given) != pytest.approx(value, abs=1e-8)}  # fmt: skip
    assert differing == {at for numbers in known["differences"].values() for at in numbers}
    assert len(known["cases"]) - len(differing) >= 300
    assert len(known["cases"]) >= 400


@each_case("text", ["a" * 200_000, "a(" * 100_000, "f(a," * 50_000, "f(a, " + " " * 200_000])
def test_long_texts_are_read_at_once(text: str) -> None:
    start = time.process_time()
    calls(text)
    table(f"|{text}|")
    assert time.process_time() - start < 2


def test_a_table_is_read_by_names() -> None:
    assert table(GOLD) == {("2020", "sales"): "100", ("2020", "cost"): "low",
                           ("2021", "sales"): "40%", ("2021", "cost"): "high"}  # fmt: skip
    assert table("no table") == {}
    assert table("x | A\nY | 1\n") == {("y", "a"): "1"}
    # what stands around it is none of it, nor is a cell without a column
    assert table("Here it is:\nx | A | B\ny | 1\nz | 2 | 3 | 4\nThat is all.") == {
        ("y", "a"): "1", ("z", "a"): "2", ("z", "b"): "3",
    }  # fmt: skip


@each_case(
    ("said", "share"),
    [
        (GOLD, 1),
        (GOLD.replace("100", "105"), 1),
        (GOLD.replace("100", "106"), 0.75),
        (GOLD.replace("40%", "0.4").replace("low", "LOW"), 1),
        (GOLD.rpartition("\n")[0], 2 * 2 / 6),  # a row less
        (GOLD + "\n| 2022 | 1 | low |", 2 * 4 / 10),  # a row too many
        ("nothing", 0),
    ],
)
def test_cells_count_by_their_row_and_column(said: str, share: float) -> None:
    assert cells(table(said), table(GOLD)) == pytest.approx(share)


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_raises(said: str, right: str) -> None:
    assert -1 <= items(calls(said), calls(right), PENALTY) <= 1
    assert 0 <= cells(table(said), table(right)) <= 1
    assert agree(said, said)


RIGHT = [("size", "0", "large"), ("color", "1", "red")]


@pytest.mark.parametrize(
    ("said", "levels", "worth"),
    [
        (RIGHT, PARTIAL, 1),
        (RIGHT[::-1], FULL, 1),
        (RIGHT[:1], FULL, 0.5),  # of two
        ([*RIGHT, ("shape", "0", "cube")], FULL, 2 / 3),
        ([*RIGHT, *RIGHT], FULL, 0.5),  # each said twice
        ([("size", "0", "small")], PARTIAL, 0.25),  # half of a half
        ([("size", "2", "large")], PARTIAL, 0.25),
        ([("size", "2", "small")], PARTIAL, 0.125),
        ([("size", "0", "small"), ("color", "2", "blue")], PENALTY, -0.375),  # -0.25 and -0.5 of two
        ([("size", "0", "small")], FULL, 0),
        ([("shape", "0", "large")], PARTIAL, 0),
        ([], PARTIAL, 0),
        ([("size",)], PARTIAL, 0.125),
    ],
)
def test_items_count_by_what_agrees(said: list[structure.Item], levels: Any, worth: float) -> None:
    assert items(said, RIGHT, levels) == pytest.approx(worth)


def test_each_right_item_is_paired_once() -> None:
    said = [("size", "0", "small"), ("size", "0", "medium")]
    assert items(said, [("size", "0", "large")]) == pytest.approx(0.25)
    assert items([], []) == items(RIGHT, []) == 0


def test_calls_are_read_with_and_without_quotes() -> None:
    assert calls("change_size(0,'large'), then f(obj_1,  red) and g(1)") == [
        ("change_size", "0", "large"),
        ("f", "obj_1", "red"),
    ]


def test_two_tables_without_cells_are_the_same() -> None:
    assert cells({}, {}) == 1


@pytest.mark.parametrize(
    ("said", "right", "worth"),
    [(105, 100, 1), (95, 100, 1), (112.5, 100, 0.5), (-112.5, -100, 0.5), (108.75, 100, 0.8535533906), (120, 100, 0),
     (-100, 100, 0), (0, 0, 1), (0.1, 0, 0), (math.inf, 1, 0), (math.nan, 1, 0), (1, math.nan, 0)],
)  # fmt: skip
def test_numbers_nearly_right_count_in_part(said: float, right: float, worth: float) -> None:
    assert closeness(said, right) == pytest.approx(worth)


def test_where_numbers_begin_to_count_can_be_set() -> None:
    assert closeness(115, 100, 0.1, 0.2) == pytest.approx(0.5)
    assert faded(0.5, 0.5, 0.5) == 1
    assert faded(0.6, 0.5, 0.5) == 0
