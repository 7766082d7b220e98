"""Trajectories for supervised training, one a line: rows can be added at the end, and LLaMA-Factory reads them too."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from virc.core.json_stream import Fields, line_rows
from virc.data.formats import sft
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for
from virc.data.rows.llamafactory import COLUMNS, ValuesOfFile
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record

NAME = "trajectories"
HOLDS: Holds = "solutions"
LOST = sft.LOST


def recognises(path: Path) -> bool:
    row = sft.first_row(path) if path.suffix.lower() == ".jsonl" else None
    return row is not None and holds_conversation(row)


def read(source: RowsFile, start: int = 1, values: ValuesOfFile | None = None) -> Iterator[ParsedRow]:
    with sft.opened(source.file) as file:
        place = file.tell if start == 1 else lambda: 0
        if values:
            values.place = file.tell
        yield from sft.rows(source, line_rows(file, start), "line", place, values=values)


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    return sft.write_rows(file_for(folder, name, ".jsonl"), name, records, settings, sft.row_of, sft.info)


def holds_conversation(row: Fields) -> bool:
    objects = [name for name, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return bool(objects) or not row.keys().isdisjoint(COLUMNS)
