"""Rows of RewardMap name a JSON file with the lines of a map, which its reward reads.

Blanks around their questions are not shown, as published (verl/utils/rl_dataset.py), and planning may have no answer.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.data.rows.record import Picture

_COLUMN = "json"


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row with what is in the file. Raises DataError: it names none, or the file holds no JSON."""
    name = row[_COLUMN]
    if not isinstance(name, str):
        raise DataError(f"its column {_COLUMN} is no name of a file: {plain(str(name), 60)}")
    file = f"the file {plain(name, 60)} of its column {_COLUMN}"
    try:
        lines = msgspec.json.decode(Picture(name, folder).read())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {clause(error)}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{file} holds no JSON") from None
    yield {**row, _COLUMN: lines, "question": str(row["question"]).strip(), "answer": str(row["answer"])}
