"""Curricula: rows in parts, in an order that a seed repeats, in the files that engines read."""

import json
from pathlib import Path
from typing import Any

import pytest
from stage_rows import drawn, request

from virc.core.errors import DataError
from virc.data.formats.registry import NumberedRow, get, only_source
from virc.data.rows.record import Record
from virc.stages.sft import Config, Curriculum
from virc.training.preflight import order, sft

TYPES = ("b", "a", "c", "b", "a", "c", "a", "b")
LETTERS = Curriculum("type", (("a",), ("c", "b")))


def rows(*values: Any) -> list[NumberedRow]:
    return [NumberedRow(at, Record((), (), extra={"type": value})) for at, value in enumerate(values, 1)]


def config(**settings: Any) -> Config:
    return Config(**{"data": "rows", "learning_rate": 1e-5, "curriculum": LETTERS, **settings})


def numbers(parts: dict[str, list[NumberedRow]]) -> dict[str, list[int]]:
    return {name: [row.number for row in its] for name, its in parts.items()}


def test_a_seed_repeats_the_order_within_parts() -> None:
    first, again, other = (numbers(order.parts(rows(*TYPES * 5), config(seed=seed))) for seed in (0, 0, 8))
    written = numbers(order.parts(rows(*TYPES * 5), config(order="written")))
    assert first == again
    assert first != other
    assert first != written
    assert {name: sorted(its) for name, its in first.items()} == written
    assert [*first] == ["a", "c, b"]


@pytest.mark.parametrize(
    ("values", "curriculum", "sentence"),
    [
        (("a", "d"), LETTERS, "row 2 has the type 'd', which is in no part of the curriculum"),
        (("a", None), LETTERS, "row 2 has no 'type', by which the curriculum orders rows"),
        (("3", "nan"), Curriculum("type"), "row 2 has the type 'nan', which is no number"),
    ],
)
def test_rows_of_no_part_are_one_sentence(values: tuple[Any, ...], curriculum: Curriculum, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        order.parts(rows(*values), config(curriculum=curriculum))


def test_rows_of_sft_are_written_in_order(tmp_path: Path) -> None:
    file = drawn(tmp_path / "rows")
    made = json.loads(file.read_text())
    marked = [row | {"type": TYPES[at % 8]} for at, row in enumerate(made)]
    file.write_text(json.dumps(marked))
    found = sft.check(request(file, curriculum=LETTERS, seed=3, order="shuffled", folder=tmp_path / "new"))
    written = [row.record for row in get("sft").read(only_source(found.file)) if row.record]
    types = [record.extra["type"] for record in written]
    counts = [sum(row["type"] == "a" for row in marked), sum(row["type"] != "a" for row in marked)]
    assert found.parts == {"a": counts[0], "c, b": counts[1]}
    assert [each == "a" for each in types] == [True] * counts[0] + [False] * counts[1]
    assert found.rows == len(made)
