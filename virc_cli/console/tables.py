"""Rows and values as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from virc_cli.console.events import room


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def section(title: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield title
        yield from (f"  {line}" for line in table(rows))


def folded(rows: Sequence[tuple[str, ...]], stream: TextIO) -> list[str]:
    """A table for a stream: where its lines are wider than the terminal, the last column goes below its row.

    Args:
        rows: the first is the head.
    """
    lines = table(rows)
    if fits(lines, stream):
        return lines
    head, *shorter = table([row[:-1] for row in rows])
    lines = [head]
    for line, row in zip(shorter, rows[1:], strict=True):
        lines += [line, f"  {rows[0][-1]} {row[-1]}"] if row[-1] != "-" else [line]
    return lines


def fits(lines: Sequence[str], stream: TextIO) -> bool:
    return not stream.isatty() or max(map(len, lines)) <= room(stream)


def value_text(value: object) -> str:
    """The value of a setting as YAML has it, on one line; `-` for None."""
    import json

    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def words(value: Any) -> str:
    """A value on one line; of an object, what it has."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(each)}".strip() for key, each in value.items() if each == "" or words(each))
    if isinstance(value, list | tuple):
        return ("\n" + " " * 13 if value and isinstance(value[0], Mapping) else ", ").join(map(words, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else value_text(value)


def named_values(fields: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field; a list of objects has one for each of them, with its values in columns."""
    for name, value in fields.items():
        are_objects = isinstance(value, list | tuple) and value and isinstance(value[0], Mapping)
        rows = [[words(each) for each in row.values()] for row in value] if are_objects else [[words(value) or "-"]]
        for number, line in enumerate(table(rows)):
            yield f"{'' if number else name:<13} {line}"
