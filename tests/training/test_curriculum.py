"""Curricula: rows in parts, in an order that a seed repeats, in the files that engines read."""

import json
from pathlib import Path
from typing import Any

import pytest
from stage_rows import drawn, request
from support.called import virc
from support.workspaces import sets

from virc.core.errors import DataError
from virc.data.formats.registry import Row, get, only_source
from virc.data.rows.record import Record
from virc.stages.sft import Curriculum
from virc.training.preflight import order, sft

TYPES = ("b", "a", "c", "b", "a", "c", "a", "b")
LETTERS = Curriculum("type", (("a",), ("c", "b")))


def rows(*values: Any) -> list[Row]:
    return [Row(at, Record((), (), extra={"type": value})) for at, value in enumerate(values, 1)]


def numbers(parts: dict[str, list[Row]]) -> dict[str, list[int]]:
    return {name: [row.number for row in its] for name, its in parts.items()}


def test_a_seed_repeats_the_order_within_parts() -> None:
    first, again, other = (numbers(order.parts(rows(*TYPES * 5), LETTERS, seed)) for seed in (0, 0, 8))
    written = numbers(order.parts(rows(*TYPES * 5), LETTERS, None))
    assert first == again
    assert first != other
    assert first != written
    assert {name: sorted(its) for name, its in first.items()} == written
    assert [*first] == ["a", "c, b"]


def test_without_parts_the_smallest_number_comes_first() -> None:
    found = numbers(order.parts(rows(0.5, "10", 2, 0.5), Curriculum("type"), None))
    assert found == {"0.5": [1, 4], "2": [3], "10": [2]}
    assert [*found] == ["0.5", "2", "10"]


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
        order.parts(rows(*values), curriculum, 1)


def test_rows_of_sft_are_written_in_order(tmp_path: Path) -> None:
    file = drawn(tmp_path / "rows")
    made = json.loads(file.read_text())
    marked = [row | {"type": TYPES[at % 8]} for at, row in enumerate(made)]
    file.write_text(json.dumps(marked))
    found = sft.check(request(file, curriculum=LETTERS, seed=3, folder=tmp_path / "new"))
    written = [row.record for row in get("sft").read(only_source(found.file)) if row.record]
    types = [record.extra["type"] for record in written]
    counts = [sum(row["type"] == "a" for row in marked), sum(row["type"] != "a" for row in marked)]
    assert found.parts == {"a": counts[0], "c, b": counts[1]}
    assert [each == "a" for each in types] == [True] * counts[0] + [False] * counts[1]
    assert found.rows == len(made)


@pytest.mark.integration
@pytest.mark.parametrize(("stage", "key"), [("practice", "disable_shuffling: true"), ("rl", "shuffle: false")])
def test_settings_of_the_order_reach_the_engine(
    stage: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path / "data" / "rows", "sft,rl")
    monkeypatch.chdir(tmp_path)
    data = "data/rows/rl.parquet" if stage == "rl" else "data/rows/trajectories.json"
    words = ("--from", "tiny", "--with", "cpu", "--data", data, "--dry-run", "--json", "--set", "order=written")
    more = dict.fromkeys(("train_batch_size", "micro_batch_size_per_device"), "1")
    if stage == "rl":
        more |= {"ppo_mini_batch_size": "1", "validation": "null", "test_freq": "null", "reward.total": "rules"}
    done = virc("train", "virc", "--stage", stage, *words, *sets(more))
    assert done.code == 0, done.err
    (text,) = [text for name, text in done.json["files"].items() if name.endswith("engine.yaml")]
    assert key in text
    assert "rows are taken in the order of the file" in done.err
    own = "data.shuffle" if stage == "rl" else "disable_shuffling"
    refused = virc("train", "virc", "--stage", stage, *words, "--set", f"engine.{own}=false")
    assert refused.code == 3
    assert "order" in refused.err
