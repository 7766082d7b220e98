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
        ([row(0, meta={"a": 1}), row(1, meta={"b": [1]})], OURS, "meta in 2 rows"),
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
