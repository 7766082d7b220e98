"""Rows of the systems that crop, as they are published: read, converted, clean, and what their stages train from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image
from support import published_crops, stage_rows
from support.called import virc
from support.row_files import NUMBERS, SIZE, picture

Writes = Callable[[Path], Path]
PROBLEMS: list[tuple[str, Writes]] = [
    ("adareasoner", published_crops.adareasoner),
    ("autotool", published_crops.deepeyes),
    ("deepeyes", published_crops.deepeyes),
    ("mini-o3", published_crops.mini_o3_rl),
    ("pyvision-rl", stage_rows.pyvision_rl),
    ("vigorl", published_crops.vigorl_rl),
]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def converted(file: Path, system: str, format: str) -> Path:
    words = ("--system", system, "--to", "to", "--name", "rows", "--format", format, "--workers", 1)
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done.err
    return Path("to")


@pytest.mark.parametrize(("system", "write"), PROBLEMS)
def test_published_problems_are_clean_and_become_problems(system: str, write: Writes, tmp_path: Path) -> None:
    if system == "pyvision-rl":  # its Python is of the sandbox
        pytest.importorskip("virc_extras")
    file = write(tmp_path / "published")
    checked = virc("data", "check", file, "--system", system, "--workers", 1)
    assert checked.code == 0, checked.out + checked.err
    to = converted(file, system, "batch")
    rows = [json.loads(line) for line in (to / "rows.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == list(NUMBERS)
    assert all(row["question"].startswith("Which number is in the") for row in rows)
    assert not any("<image>" in row["question"] for row in rows)
    for at, row in enumerate(rows):
        with Image.open(to / row["image"]) as shown:
            assert shown.size == SIZE
            assert shown.convert("RGB").tobytes() == picture(at).tobytes()


def test_published_solutions_are_converted_as_they_are(tmp_path: Path) -> None:
    file = published_crops.mini_o3_cold_start(tmp_path / "published")
    checked = virc("data", "check", file, "--system", "mini-o3", "--workers", 1)
    assert checked.code == 0, checked.out + checked.err
    to = converted(file, "mini-o3", "sft")
    rows: list[dict[str, Any]] = json.loads((to / "rows.json").read_text())
    drawn = json.loads((tmp_path / "published/drawn/mini-o3/trajectories.json").read_text())[:3]
    assert [row["messages"] for row in rows] == [row["messages"] for row in drawn]
    assert all(len(row["images"]) == str(row["messages"]).count("<image>") > 1 for row in rows)


@pytest.mark.parametrize(
    "text",
    ["__import__('os').abort()", "[" * 10_000, "-" * 100_000 + "1", "{1: 2}", "3", "['a']", "x" * (2**20 + 1), "\0"],
)
def test_a_text_that_is_no_conversation_is_one_fault(text: str, tmp_path: Path) -> None:
    table = pq.read_table(published_crops.mini_o3_cold_start(tmp_path / "published")).to_pylist()
    file = tmp_path / "odd.parquet"
    table[1]["conversations"] = text
    pq.write_table(pa.Table.from_pylist(table), file)
    done = virc("data", "check", file, "--system", "mini-o3", "--workers", 1)
    assert done.code == 5
    assert "conversations" in done.out
    assert "3 rows, 2 good" in done.out
