"""What the tests of operators that ask models share: rows, an endpoint, and what was left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extras.make.made import read_rows, write_rows
from PIL import Image

from virc.solving.setup import set_up
from virc_extras.make.run import make


def rows_at(folder: Path, count: int = 1, **columns: object) -> Path:
    """A file of rows with ids from 1, each with a picture and the answer 97, unless columns say otherwise."""
    Image.radial_gradient("L").resize((112, 84)).convert("RGB").save(folder / "figure.png")
    asked = {"image": "figure.png", "answer": "97"}
    rows = [{"id": number, "question": f"q {number}", **asked, **columns} for number in range(1, count + 1)]
    return write_rows(folder / "rows.jsonl", rows)


def made(operator: str, rows: Path, url: str, options: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The rows that an operator makes at an endpoint, beside those that it makes them of."""
    setup = set_up({"endpoint": url, "protocol": "default"})
    new = rows.with_name("new.jsonl")
    make(operator, [str(rows)], new, options, setup=setup, **more)
    return read_rows(new)


def rules(rows: Path) -> dict[Any, str]:
    """Id -> the rule by which a row was left out."""
    return {each["id"]: each["rule"] for each in read_rows(rows.with_name("new.jsonl.left_out"))}
