"""Keys of messages beside role and text: what LLaMA-Factory 0.9.5 made of such rows, run with its own loader."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import Done, virc

from virc.data.formats import sft

OURS = ("role", "content", "user", "assistant")
SHAREGPT = ("from", "value", "human", "gpt")
Row = dict[str, Any]


def row(number: int, names: tuple[str, ...] = OURS, pad: str = "", **more: Any) -> Row:
    role, text, user, assistant = names
    answer = {role: assistant, text: "<think>a</think><answer>1</answer>"}
    turns = [{role: user, text: f"<image>Question {number}?{pad}"}, answer | more]
    return {"id": number, "messages": turns, "images": ["a.png"]}


def put(folder: Path, rows: list[Row], names: tuple[str, ...] = OURS, ending: str = ".json") -> Path:
    role, text, user, assistant = names
    tags = {"role_tag": role, "content_tag": text, "user_tag": user, "assistant_tag": assistant, "system_tag": "system"}
    file = folder / f"rows{ending}"
    entry = sft.info(file.name) | {"tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    Image.new("RGB", (56, 56)).save(folder / "a.png")
    lines = [json.dumps(each) for each in rows]
    file.write_text("\n".join(lines) if ending == ".jsonl" else f"[{','.join(lines)}]")
    return file


def checked(file: Path) -> Done:
    return virc("data", "check", file, "--workers", 1)


@pytest.mark.parametrize(
    ("rows", "names", "said"),
    [
        ([row(0, name="x"), row(1)], OURS, "name in 1 row"),
        ([row(0), row(1, name="x")], OURS, "name in 1 row"),
        ([row(0, SHAREGPT, weight=0), row(1, SHAREGPT, weight=1)], SHAREGPT, "weight in 2 rows"),
        ([row(0, meta={"a": 1}), row(1, meta={"b": [1]})], OURS, "meta in 2 rows"),
        ([row(0, tool_calls=[{"x": 1}], name=None), row(1)], OURS, "tool_calls in 1 row, name in 1 row"),
    ],
)
def test_keys_that_are_not_read_are_named_and_no_fault(
    tmp_path: Path, rows: list[Row], names: tuple[str, ...], said: str
) -> None:
    file = put(tmp_path, rows, names)
    done = checked(file)
    assert done.code == 0, done.out
    assert f"  keys of messages that LLaMA-Factory does not read, and --clean does not keep: {said}\n" in done.out
    made = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "sft")
    lost = ", ".join(each.split()[0] for each in said.split(", "))
    assert f"keys of messages that no format has are lost: {lost}\n" in made.err


def test_of_many_keys_the_first_are_counted_and_the_rows_with_others(tmp_path: Path) -> None:
    done = checked(put(tmp_path, [row(number, **{f"k{number}": 1}) for number in range(30)] + [row(30, k3=1)]))
    assert done.code == 0, done.out
    assert "k2 in 1 row, k3 in 2 rows, " in done.out
    assert "k19 in 1 row, others in 10 rows\n" in done.out


def test_values_of_two_kinds_stop_the_engine(tmp_path: Path) -> None:
    done = checked(put(tmp_path, [row(0, SHAREGPT, weight=0), row(1, SHAREGPT, weight="a")], SHAREGPT))
    assert done.code == 5
    assert ":2: row: messages[].weight is text, and a number in row 1: LLaMA-Factory stops at the file" in done.out


@pytest.mark.parametrize(
    ("at", "ending", "stops"), [(-1, ".jsonl", True), (90, ".jsonl", False), (-1, ".json", False), (0, ".jsonl", False)]
)
def test_a_key_behind_the_first_part_of_a_file_of_lines_stops_the_engine(
    tmp_path: Path, at: int, ending: str, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLaMA-Factory reads lines in parts of 10 MiB, here of 1 MiB, and an array at once."""
    assert sft._FIRST_PART == 10 * 2**20
    monkeypatch.setattr(sft, "_FIRST_PART", 2**20)
    rows = [row(number, pad=" y" * 2_000) for number in range(300)]
    rows[at]["messages"][1]["name"] = "x"
    done = checked(put(tmp_path, rows, ending=ending))
    assert (done.code == 5) is stops, done.out[:1000]
    assert ("messages[].name is in no row of the first 1 MiB: LLaMA-Factory stops at it" in done.out) is stops
