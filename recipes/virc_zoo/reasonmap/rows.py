"""Rows of ReasonMap ask two questions about a map, each of which is a problem of its own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_ASKED = ("short", "long")


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row once for each question, whose kind becomes its `category`."""
    others = {key: value for key, value in row.items() if key not in [f"question_{kind}" for kind in _ASKED]}
    for kind in _ASKED:
        asked = row[f"question_{kind}"]
        yield {**others, "id": f"{number}-{kind}", "question": asked, "category": kind}
