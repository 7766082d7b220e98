"""Files of rows, and rows that are made of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from virc_extras.make.run import make

Rows = Sequence[Mapping[str, Any]]


def write_rows(file: Path, rows: Rows) -> Path:
    """A file with these rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def made(operator: str, folder: Path, rows: Rows, /, **options: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows that an operator makes, and how many were left out by which rule."""
    write_rows(folder / "rows.jsonl", rows)
    fields = make(operator, [str(folder / "rows.jsonl")], folder / "new.jsonl", options)
    left_out = read_rows(folder / "new.jsonl.left_out")
    found = read_rows(folder / "new.jsonl")
    (folder / "new.jsonl").unlink()
    assert fields["rows"] == len(rows) == fields["kept"] + len(left_out)
    assert sum(fields["left_out"].values()) == len(left_out)
    return found, fields["left_out"]


def picture(file: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> str:
    """The name of a picture of coloured blocks that is drawn from a seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.new("L", (8, 6))
    blocks.putdata([(seed * 37 + at * at * (seed + 3)) % 251 for at in range(48)])
    blocks.resize(size, Image.Resampling.NEAREST).convert("RGB").save(file)
    return file.name
