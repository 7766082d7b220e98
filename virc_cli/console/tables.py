"""Rows and values as text."""

from collections.abc import Sequence
from typing import TextIO

from virc_cli.console.events import room


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def folded(rows: Sequence[tuple[str, ...]], stream: TextIO) -> list[str]:
    """A table for a stream: where its lines are wider than the terminal, the last column goes below its row.

    Args:
        rows: the first is the head.
    """
    lines = table(rows)
    if not stream.isatty() or max(map(len, lines)) <= room(stream):
        return lines
    head, *shorter = table([row[:-1] for row in rows])
    lines = [head]
    for line, row in zip(shorter, rows[1:], strict=True):
        lines += [line, f"  {rows[0][-1]} {row[-1]}"] if row[-1] != "-" else [line]
    return lines


def value_text(value: object) -> str:
    """The value of a setting as YAML has it, on one line; `-` for None."""
    import json

    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
