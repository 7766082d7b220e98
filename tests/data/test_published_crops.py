"""Rows of the systems that crop, as they are published: read, converted, clean, and what their stages train from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image
from support import published_crops, published_rows, stage_rows, workspaces
from support.called import virc
from support.published_rows import NUMBERS, SIZE, picture

from virc.data.formats.registry import RowsFile, only_source
from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

Writes = Callable[[Path], Path]
PROBLEMS: list[tuple[str, Writes]] = [
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


def test_published_problems_train(tmp_path: Path) -> None:
    to = converted(published_crops.mini_o3_rl(tmp_path / "published"), "mini-o3", "prompts")
    prompts = pq.read_table(to / "rows.parquet").to_pylist()
    assert [row["reward_model"]["ground_truth"] for row in prompts] == list(NUMBERS)
    checked = virc("data", "check", to, "--system", "mini-o3", "--workers", 1)
    assert checked.code == 0, checked.out + checked.err
    small = {"train_batch_size": 3, "ppo_mini_batch_size": 3, "validation": "null", "test_freq": "null"}
    words = ("--stage", "rl", "--with", "cpu", "--from", "tiny", "--data", to / "rows.parquet", "--dry-run")
    asked = ("--judge-endpoint", "http://127.0.0.1:9/v1", *workspaces.sets(small))
    planned = virc("train", "mini-o3", *words, *asked)
    assert planned.code == 0, planned.err
    assert "not checked" not in planned.err


def test_published_solutions_are_clean_and_train(tmp_path: Path) -> None:
    file = published_crops.mini_o3_cold_start(tmp_path / "published")
    checked = virc("data", "check", file, "--system", "mini-o3", "--workers", 1)
    assert checked.code == 0, checked.out + checked.err
    to = converted(file, "mini-o3", "sft")
    rows: list[dict[str, Any]] = json.loads((to / "rows.json").read_text())
    drawn = json.loads((tmp_path / "published/drawn/mini-o3/trajectories.json").read_text())[:3]
    assert [row["messages"] for row in rows] == [row["messages"] for row in drawn]
    assert all(len(row["images"]) == str(row["messages"]).count("<image>") > 1 for row in rows)
    checked = virc("data", "check", to, "--system", "mini-o3", "--workers", 1)
    assert checked.code == 0, checked.out + checked.err
    words = ("--stage", "cold-start", "--with", "cpu", "--from", "tiny", "--data", to / "rows.json", "--dry-run")
    planned = virc("train", "mini-o3", *words)
    assert planned.code == 0, planned.err


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


def assert_asked_as_published(name: str, *sources: RowsFile) -> None:
    """Question and answer are those of the rows, in the words of the system."""
    published, made = ([row.record for row in each.rows()] for each in sources)
    spoken = of_system(systems.get(name)).protocol
    for before, after in zip(published, made, strict=True):
        assert before
        assert after
        assert (after.question, after.answer) == (before.question, before.answer)
        shown = "\n".join([MARK] * len(before.images))
        first = spoken.first.replace("{images}", shown).replace("{question}", before.question or "")
        assert [each.content for each in after.messages] == [spoken.system, first]


Write = Callable[[Path], Path]
ROWS: tuple[tuple[str, Write, str], ...] = (
    ("thinklite-vl", published_rows.thinklite_vl, "rl"),
    ("vision-g1", published_rows.vision_g1, "round-1"),
    ("vision-g1", published_rows.vision_g1, "round-2"),
    ("actial", published_rows.actial_rl, "rl"),
)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "write", "stage"), ROWS)
def test_published_rows_become_prompts_that_a_stage_takes(
    name: str, write: Write, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, to = write(tmp_path / "published"), tmp_path / "data" / "own"
    assert virc("data", "check", file, "--system", name, "--workers", 1).code == 0
    done = virc("data", "convert", file, "--system", name, "--to", to, "--format", "prompts", "--workers", 1)
    assert done.code == 0, done.err
    (converted,) = to.glob("*.parquet")
    assert virc("data", "check", converted, "--system", name, "--workers", 1).code == 0
    assert_asked_as_published(name, only_source(file, systems.get(name)), only_source(converted, systems.get(name)))
    monkeypatch.chdir(tmp_path)
    words = ("--data", converted, "--with", "cpu", "--from", "tiny", "--dry-run")
    small = {"train_batch_size": 3, "ppo_mini_batch_size": 3, "micro_batch_size_per_device": 1, "validation": "null",
             "test_freq": "null"}  # fmt: skip
    done = virc("train", name, "--stage", stage, *words, *workspaces.sets(small))
    assert done.code == 0, done.err
    assert "3 rows, " in done.err
