"""Faults of RL rows, as published and as they are made here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from checking import Rows, checked, report, whole
from test_check_output import reencoded

Change = Callable[[Rows], object]


def published(path: Path, change: Change) -> Path:
    table = pq.read_table(whole().train)
    return changed(table, path, change)


def changed(table: Any, path: Path, change: Change) -> Path:
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path


def prompts(rows: Rows, row: int) -> list[list[dict[str, str]]]:
    """Both copies of the prompt of a row."""
    return [rows[row]["prompt"], rows[row]["extra_info"]["prompt"]]


def end_with_reply(rows: Rows) -> None:
    reply = {"role": "assistant", "content": rows[1]["prompt"][2]["content"]}
    for prompt in prompts(rows, 0):
        prompt.append(reply)


BROKEN: list[tuple[str, str, int, Change]] = [
    ("no_question", "not known by itself", 1, lambda rows: rows[0]["extra_info"].update(question=None)),
    ("row", "no data_source", 1, lambda rows: rows[0].update(data_source=None)),
    ("tool_info", "'rotate'", 1, lambda rows: rows[0]["extra_info"].update(tool_info_gt={"name": "rotate"})),
    ("image_broken", "not a picture", 1, lambda rows: rows[0]["images"][0].update(bytes=b"hello")),
    ("end", "after itself", 1, end_with_reply),
]


@pytest.mark.parametrize(("kind", "said", "row", "change"), BROKEN)
def test_one_fault_is_found_named_and_placed(tmp_path: Path, kind: str, said: str, row: int, change: Change) -> None:
    found = report(published(tmp_path / "train.parquet", change))
    assert found["faults"] == {kind: 1}
    assert said in found["first"][0]["message"]
    assert found["first"][0]["row"] == row


def test_an_input_of_the_held_out_file_is_found_in_every_row_that_shows_it(tmp_path: Path) -> None:
    shown = pq.read_table(whole().train).to_pylist()[0]["images"][0]["bytes"]
    (tmp_path / "x.png").write_bytes(shown)
    again = reencoded(tmp_path / "x.png")

    table = pq.read_table(whole().val)
    changed(table, tmp_path / "set_val.parquet", lambda rows: rows[0]["images"][0].update(bytes=again))
    published(tmp_path / "set_train.parquet", lambda rows: None)
    found = report(tmp_path)
    assert [fault["row"] for fault in found["first"] if fault["kind"] == "leak"] == [1, 2]  # all its units


def test_units_without_faults_are_kept_as_units(tmp_path: Path) -> None:
    file = published(tmp_path / "train.parquet", lambda rows: rows[1].update(data_source=None))
    assert checked(file, "--clean", tmp_path / "clean").code == 0
    kept = pq.read_table(tmp_path / "clean/train.parquet").to_pylist()
    before = pq.read_table(file).to_pylist()
    assert len(kept) == len(before) - 1
    assert [row["prompt"] for row in kept] == [row["prompt"] for row in before[:1] + before[2:]]
    assert kept[0]["images"][0]["bytes"] == before[0]["images"][0]["bytes"]
    assert report(tmp_path / "clean")["faults"] == {}
