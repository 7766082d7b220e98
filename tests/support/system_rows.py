"""Rows of every system in one file, for the runs that the systems share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.called import virc

Row = dict[str, Any]
SFT = {"train_batch_size": 8, "micro_batch_size_per_device": 4, "learning_rate": 1e-3, "warmup_ratio": 0,
       "gradient_checkpointing": "false",
       "trackers": "[]"}  # fmt: skip
"""Settings of supervised stages that a few steps on these rows suffice for."""
SYNTH = ("--count", 8, "--seed", 3, "--workers", 1, "--drawing", 1)


def trajectories(folder: Path) -> list[Row]:
    """Rows of `vlm-r3` (the first), of `virc`, and of `virgo` with pictures and in text alone; in `mixed.json`."""
    done = virc("data", "synth", "--to", folder / "virc", *SYNTH, "--formats", "sft")
    assert done.code == 0, done.err
    _converted(folder, ("vlm-r3", "virgo"))
    parts = {name: _rows(folder / name) for name in ("vlm-r3", "virc", "virgo")}
    parts["text"] = [*map(_in_text_alone, parts["virgo"])]
    mixed = [row for rows in zip(*parts.values(), strict=True) for row in rows]
    (folder / "mixed.json").write_text(json.dumps(mixed))
    return mixed


def in_words_of(folder: Path, names: Sequence[str]) -> None:
    """Rows in the words of each system, in `NAME/trajectories.json`; the problems are `virc/problems.jsonl`."""
    done = virc("data", "synth", "--to", folder / "virc", *SYNTH, "--formats", "sft,batch")
    assert done.code == 0, done.err
    _converted(folder, names)


def problems(folder: Path) -> list[Row]:
    """Problems of `tiny`, of `vlm-r3`, and of `visual-rft`, where a corner is to be found; in `mixed.jsonl`."""
    done = virc("data", "synth", "--to", folder, *SYNTH, "--formats", "batch")
    assert done.code == 0, done.err
    own = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    mixed = [row for each in own for row in (each, _named(each, "vlm-r3"), _to_be_found(each))]
    (folder / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    return mixed


def replies(row: Row) -> Sequence[str]:
    """What the assistant says in a row."""
    return [each["content"] for each in row["messages"] if each["role"] == "assistant"]


def _converted(folder: Path, names: Sequence[str]) -> None:
    """The rows of `virc` beside them in the words of other systems."""
    for name in names:
        words = ("--to", folder / name, "--format", "sft", "--system", name, "--workers", 1)
        done = virc("data", "convert", folder / "virc" / "trajectories.json", *words)
        assert done.code == 0, done.err


def _rows(folder: Path) -> list[Row]:
    """The rows of a dataset, whose images are named from the folder around it."""
    found: list[Row] = json.loads((folder / "trajectories.json").read_bytes())
    for row in found:
        row["images"] = [f"{folder.name}/{image}" for image in row["images"]]
    return found


def _in_text_alone(row: Row) -> Row:
    """A row without its picture, and as such rows often are, without a system message."""
    told = [each | {"content": each["content"].replace("<image>", "")} for each in row["messages"][1:]]
    return row | {"id": f"{row['id']}-text", "messages": told, "images": []}


def _named(row: Row, system: str) -> Row:
    return row | {"id": f"{row['id']}-{system}", "data_source": system}


def _to_be_found(row: Row) -> Row:
    corner = row["corners"][0]
    asked = {"question": f"Find the letter {corner['letter']}.", "boxes": [corner["letter_box"]]}
    answer = [{"Position": corner["letter_box"], "Confidence": 1}]
    return _named(row, "visual-rft") | asked | {"answer": json.dumps(answer)}
