"""Faults of RL rows, as published and as they are made here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from checking import FILE, Rows, checked, good_set, report, whole
from support.called import virc
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


def answer_early(rows: Rows) -> None:
    for prompt in prompts(rows, 1):
        prompt[2]["content"] = "<think>t</think><answer>1</answer>"


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


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RL rows with ids and references, made of a good set."""
    folder = tmp_path_factory.mktemp("ours")
    good_set(folder / "sft")
    done = virc("data", "convert", folder / "sft" / FILE, "--format", "rl", "--to", folder / "rl")
    assert done.code == 0, done.err
    [file] = (folder / "rl").glob("*.parquet")
    return file


OURS: list[tuple[str, str, Change]] = [
    ("tool_info", "tool_info_gt names no tool, the reference calls crop_image",
     lambda rows: rows[0]["extra_info"].update(tool_info_gt=None)),
    (
        "tool_info",
        "tool_info_gt names crop_image, the reference calls none",
        lambda rows: rows[0]["extra_info"].update(reference="<think>t</think><answer>1</answer>"),
    ),
    ("tags", "turn 1", lambda rows: rows[0]["extra_info"].update(reference="no tags")),
    ("tool_info", "tool_info_gt names 'tilt_image', which is not offered: crop_image, ",
     lambda rows: rows[0]["extra_info"].update(tool_info_gt={"name": "tilt_image"})),
]  # fmt: skip


def test_rows_made_here_have_no_fault(ours: Path) -> None:
    assert report(ours)["faults"] == {}


@pytest.mark.parametrize(("kind", "said", "change"), OURS)
def test_the_reference_of_a_row_is_checked(ours: Path, kind: str, said: str, change: Change) -> None:
    file = changed(pq.read_table(ours), ours.with_name("changed.parquet"), change)
    found = report(file)
    assert kind in found["faults"]
    assert found["first"][0]["row"] == 1
    assert any(said in fault["message"] for fault in found["first"])


def test_units_of_a_problem_share_an_id_and_differ_in_turn(ours: Path) -> None:
    def change(rows: Rows) -> None:
        for row, (name, turn) in zip(rows, [("a", 0), ("a", 1), ("b", 0), ("b", 0)], strict=False):
            row["extra_info"].update(id=name, turn=turn)

    table = pq.read_table(ours)
    file = changed(table, ours.with_name("ids.parquet"), change)
    assert report(file)["faults"]["duplicate_id"] == 1


def test_units_without_faults_are_kept_as_units(tmp_path: Path) -> None:
    file = published(tmp_path / "train.parquet", lambda rows: rows[1].update(data_source=None))
    assert checked(file, "--clean", tmp_path / "clean").code == 0
    kept = pq.read_table(tmp_path / "clean/train.parquet").to_pylist()
    before = pq.read_table(file).to_pylist()
    assert len(kept) == len(before) - 1
    assert [row["prompt"] for row in kept] == [row["prompt"] for row in before[:1] + before[2:]]
    assert kept[0]["images"][0]["bytes"] == before[0]["images"][0]["bytes"]
    assert report(tmp_path / "clean")["faults"] == {}
