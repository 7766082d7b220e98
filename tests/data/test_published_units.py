"""Published rows of RL, a reasoning unit each, become trajectories to learn from, in whatever order they are."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from support import crux
from support.called import Done, virc

SEEN = [2, 3, 3, 2, 1]  # rows of the first five problems: one for each unit


@pytest.fixture
def units(tmp_path: Path) -> tuple[Path, Path]:
    """Five published trajectories with their last units in no row, and the file of the same problems, whole."""
    made = crux.build(tmp_path / "crux", rows=5, unpacked=True)
    assert pq.read_metadata(made.train).num_rows == sum(SEEN)
    return made.train, made.dynamic


def shuffled(file: Path) -> Path:
    """The same rows in another order."""
    table = pq.read_table(file)
    order = list(range(table.num_rows))
    random.Random(4).shuffle(order)
    to = file.with_name("shuffled.parquet")
    pq.write_table(table.take(pa.array(order)), to)
    return to


def converted(file: Path, to: Path, format: str, *words: object) -> Done:
    return virc("data", "convert", file, "--to", to, "--format", format, "--workers", 1, *words)


def messages(file: Path) -> list[list[dict[str, Any]]]:
    return sorted((row["messages"] for row in json.loads(file.read_text())), key=str)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("format", ["sft", "trajectories"])
def test_units_are_joined_up_to_the_last_known_reply(
    format: str, mixed: bool, units: tuple[Path, Path], tmp_path: Path
) -> None:
    file = shuffled(units[0]) if mixed else units[0]
    done = converted(file, tmp_path / "to", format, "--json", "--name", "rows")
    assert done.code == 0, done.err
    (written,) = done.json["datasets"]
    assert {key: written[key] for key in ("rows_in", "rows_out", "cut", "unknown", "left_out")} == {
        "rows_in": 11, "rows_out": 4, "cut": 4, "unknown": 1, "left_out": 0,
    }  # fmt: skip
    assert "4 of 4 trajectories end before their answer; 1 without any reply are left out" in done.err
    assert "no row of rows holds a last reply" in done.err
    if format == "sft":
        whole = [row[:-2] for row in messages(units[1])]  # without the last image and what is said to it
        assert messages(tmp_path / "to/rows.json") == [row for row in whole if len(row) > 1]


def test_what_was_joined_lacks_its_answers_and_nothing_else(units: tuple[Path, Path], tmp_path: Path) -> None:
    converted(shuffled(units[0]), tmp_path / "to", "sft", "--name", "rows")
    (checked,) = virc("data", "check", tmp_path / "to", "--json").json["datasets"]
    assert checked["faults"] == {"no_answer": 4}
    rows = json.loads((tmp_path / "to/rows.json").read_text())
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
    assert all(len(row["images"]) == str(row["messages"]).count("<image>") for row in rows)
    assert not any("tool_info_gt" in row for row in rows), "the tool of a unit that is not there"


def test_units_with_their_references_stay_whole(units: tuple[Path, Path], tmp_path: Path) -> None:
    assert converted(units[1], tmp_path / "rl", "rl", "--name", "rows").code == 0
    done = converted(shuffled(tmp_path / "rl/rows.parquet"), tmp_path / "to", "sft", "--name", "rows")
    assert done.code == 0, done.err
    assert "end before" not in done.err
    assert messages(tmp_path / "to/rows.json") == messages(units[1])
