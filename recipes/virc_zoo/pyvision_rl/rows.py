"""Rows of PyVision-RL keep their source, which has the names of systems here too, in a column of its own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

KIND = "asked_of_judge"
"""The column by which the judge gets its examples."""


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row with its source in that column."""
    yield {**row, KIND: row["data_source"]}
