"""Pairs of a right and a wrong last reply, made of drawn trajectories; in the row that LLaMA-Factory documents."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def pairs(trajectories: Path, swapped: bool = False) -> Iterator[Row]:
    """A pair of each trajectory; `swapped`: the wrong reply is the chosen one."""
    rows = json.loads(trajectories.read_bytes())
    for at, row in enumerate(rows):
        *shared, right = row["messages"]
        other = rows[(at + 1) % len(rows)]["answer"]
        wrong = {**right, "content": right["content"].replace(f"<answer>{row['answer']}<", f"<answer>{other}<")}
        if wrong == right:
            continue
        chosen, rejected = (wrong, right) if swapped else (right, wrong)
        yield {"id": row["id"], "messages": shared, "chosen": chosen, "rejected": rejected, "images": row["images"]}


def write(folder: Path, name: str = "pairs", swapped: bool = False) -> Path:
    """`NAME.jsonl` in a folder with `trajectories.json`."""
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs(folder / "trajectories.json", swapped)))
    return file
