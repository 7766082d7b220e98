"""Rows that have one value of a column, such as a recording, a page or a scene; they stand on one side of a split."""

from collections.abc import Iterable
from pathlib import Path

from virc.core.errors import DataError
from virc.core.text import did_you_mean, plain
from virc.data.rows.record import Record


def group_of(record: Record, column: str | None) -> str | None:
    value = record.extra.get(column) if column else None
    return None if value is None else str(value)


def check_column(column: str | None, file: Path, records: Iterable[Record]) -> None:
    """Raises DataError: there is a column to group by, and no row of a file has it."""
    known = {name for record in records for name in record.extra} if column else {}
    if column and column not in known:
        hint = did_you_mean(
            column, known, "columns that virc reads as parts of a problem, such as its id, group no rows"
        )
        raise DataError(f"no row of {file} has the column {plain(column, 60)!r}", hint)
