"""Pairs of a better and a worse reply to the same turns, as LLaMA-Factory reads them for preference training.

    {"messages": [system?, user, (assistant, user)*], "chosen": {"role": "assistant", "content": …},
     "rejected": {"role": "assistant", "content": …}, "images": […], "margin": 0.5, …}

Images are those of the messages: both replies share them. `margin`, by how much the first is better, is optional. Files
are lines or one array; others that LLaMA-Factory reads with `ranking`, such as those of RLHF-V, are read too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.json_stream import Fields, array_rows, first_object, line_rows
from virc.core.tables.encodings import open_utf8
from virc.core.text import plain
from virc.data.formats import sft
from virc.data.formats.registry import Holds, NumberedRow, RowsFile, Writing
from virc.data.rows.record import Record, check_texts

NAME = "pairs"
SUMMARY = "a better and a worse reply to the same turns, one pair a line, for preference training"
HOLDS: Holds = "pairs"
LOST = ""
SIDES = ("chosen", "rejected")
_Values = Iterable[tuple[int, Fields | DataError]]


def recognises(path: Path) -> bool:
    if path.suffix not in (".json", ".jsonl"):
        return False
    try:
        with open_utf8(path) as file:
            row = first_object(_values(path)(file))
    except OSError:
        return False
    return row is not None and any(name in row for name in sft.COLUMNS) and all(
        isinstance(row.get(side), dict) for side in SIDES
    )  # fmt: skip


def read(source: RowsFile, start: int = 1) -> Iterator[NumberedRow]:
    """The rows of the file, named as in its entry; as `sft.read`, with the rejected reply next to the chosen one."""
    columns = source.info.get("columns")
    chosen, rejected = (str((columns if isinstance(columns, dict) else {}).get(side) or side) for side in SIDES)
    with sft.opened(source.file) as file:
        named = sft.columns_of(source.info) if source.info else None
        values: _Values = _values(source.file)(file, start)
        joined = (
            (number, value if isinstance(value, DataError) else _joined(value, number, named, (chosen, rejected)))
            for number, value in values
        )
        for row in sft.rows(source, joined, "row"):
            yield _with_rejected(row, named, rejected)


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    return sft.write_lines(folder, name, (sft.line_of(record, settings, row_of) for record in records), info)


def row_of(record: Record, image_names: Iterable[str]) -> dict[str, Any]:
    """The row of a pair; `image_names` are relative to the folder of the file. Raises DataError: it is no pair."""
    if record.rejected is None or not record.messages:
        raise DataError(f"{record.called} has no rejected reply", "virc data sample FILE --pairs RULE makes pairs")
    row = sft.row_of(record, image_names)
    *shared, chosen = row.pop("messages")
    start = {"id": row.pop("id")} if "id" in row else {}
    sides = {"chosen": chosen, "rejected": {"role": "assistant", "content": record.rejected}}
    return {**start, "messages": shared, **sides, **{key: row[key] for key in row if key not in SIDES}}


def info(file_name: str) -> dict[str, Any]:
    entry = sft.info(file_name)
    return {**entry, "ranking": True, "columns": {**entry["columns"], "chosen": "chosen", "rejected": "rejected"}}


def _values(path: Path) -> Any:
    return line_rows if path.suffix == ".jsonl" else array_rows


def _joined(row: Fields, number: int, named: sft.Columns | None, names: tuple[str, str]) -> Fields | DataError:
    try:
        columns = named or sft.columns_of(sft.guessed(row))
        turns = row.get(columns.messages)
        for name in names:
            _check_reply(row, name, columns)
    except DataError as fault:
        return DataError(f"row {number}: {fault.message}", fault.hint)
    if not isinstance(turns, list):
        return row  # which the reader of sft refuses
    return {**{key: row[key] for key in row if key != names[0]}, columns.messages: [*turns, row[names[0]]]}


def _check_reply(row: Fields, name: str, columns: sft.Columns) -> None:
    side = row.get(name)
    if not isinstance(side, dict):
        raise DataError(f"it has no {name}, an object with {columns.role} and {columns.content}")
    role, content = side.get(columns.role), side.get(columns.content)
    if not isinstance(role, str) or columns.roles.get(role) != "assistant":
        raise DataError(f"its {name} has the {columns.role} {plain(repr(role), 40)}, and the assistant is due")
    if not isinstance(content, str):
        raise DataError(f"its {name} has no text as {columns.content}")


def _with_rejected(row: NumberedRow, named: sft.Columns | None, name: str) -> NumberedRow:
    if row.record is None:
        return row
    extra = dict(row.record.extra)
    side = extra.pop(name)
    content = named.content if named else "value" if "value" in side else "content"
    record = msgspec.structs.replace(row.record, rejected=side[content], extra=extra)
    try:
        check_texts(record)
    except DataError as fault:
        return NumberedRow(row.number, fault=DataError(f"row {row.number}: {fault.message}"))
    return msgspec.structs.replace(row, record=record)
