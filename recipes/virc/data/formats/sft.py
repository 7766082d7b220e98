"""Trajectories for supervised training as LLaMA-Factory reads them: a JSON array next to a `dataset_info.json`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from virc.core.errors import DataError, errors_as
from virc.core.files import write_whole
from virc.core.json_stream import Fields, Reader, array_rows, first_object, line_rows, one_line
from virc.core.tables.encodings import open_utf8
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for, numbered_rows, read_info
from virc.data.rows.llamafactory import INFO, TAGS, TOOL_TAGS, ValuesOfFile, reader
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record

NAME = "sft"
HOLDS: Holds = "solutions"
LOST = ""
RowOf = Callable[[Record, Iterable[str]], dict[str, Any]]
EntryOf = Callable[[str, bool], dict[str, Any]]


def recognises(path: Path) -> bool:
    """Whether it is a .json file that holds an array with an object among its first values, or that is empty."""
    if path.suffix.lower() != ".json":
        return False
    with suppress(OSError), open_utf8(path) as file:
        if b"".join(file.read(4096).split(maxsplit=2)).startswith((b"[{", b"[]")):
            return True
    return first_row(path) is not None


def first_row(path: Path) -> Fields | None:
    """The first object of an array, or of a file of lines; None where there is none."""
    with suppress(OSError), open_utf8(path) as file:
        return first_object(values_in(path)(file, 1))
    return None


def values_in(path: Path) -> Reader:
    return line_rows if path.suffix.lower() == ".jsonl" else array_rows


def read(source: RowsFile, start: int = 1, values: ValuesOfFile | None = None) -> Iterator[ParsedRow]:
    with opened(source.file) as file:
        yield from rows(source, array_rows(file, start), "row", values=values)


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    return write_rows(file_for(folder, name, ".json"), name, records, settings, row_of, info)


def write_rows(file: Path, name: str, records: Iterable[Record], settings: Writing, row: RowOf, entry: EntryOf) -> int:
    """Write a dataset into a new file, an array or lines by its ending; `entry` gets whether rows have tools."""
    first, between, last, none = ("[\n", ",\n", "\n]\n", "[]\n") if file.suffix == ".json" else ("", "\n", "\n", "")
    count, has_tools = 0, False
    with file.open("w", encoding="utf-8") as out:
        for count, record in enumerate(records, 1):
            out.write((between if count > 1 else first) + line_of(record, settings, row))
            has_tools |= record.has_tools
        out.write(last if count else none)
    add_info(file.parent, name, entry(file.name, has_tools))
    return count


def line_of(record: Record, settings: Writing, row: RowOf) -> str:
    try:
        return one_line(row(record, settings.pictures.names(record)))
    except ValueError as error:
        raise DataError(f"{record.called} cannot be JSON: {error}") from None


def row_of(record: Record, image_names: Iterable[str]) -> dict[str, Any]:
    if not record.messages:
        raise DataError(f"{record.called} has no trajectory, only a problem", "virc data sample makes trajectories")
    row: dict[str, Any] = {"id": record.id} if record.id is not None else {}
    row["messages"] = [{"role": message.role, "content": message.content} for message in record.messages]
    row["images"] = list(image_names)
    row |= {"tools": record.tools} if record.has_tools else {}
    row |= {key: value for key in ("question", "answer") if (value := getattr(record, key)) is not None}
    return row | {key: value for key, value in record.extra.items() if key not in row}


def info(file_name: str, has_tools: bool = False) -> dict[str, Any]:
    columns, tags = {"messages": "messages", "images": "images"}, TAGS
    if has_tools:  # LLaMA-Factory stops at a column that no row has
        columns, tags = columns | {"tools": "tools"}, tags | TOOL_TAGS
    return {"file_name": file_name, "formatting": "sharegpt", "columns": columns, "tags": tags}


def add_info(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    write_info(folder, read_info(folder) | {name: entry})


def write_info(folder: Path, entries: Mapping[str, Any]) -> None:
    write_whole(folder / INFO, (json.dumps(entries, indent=1) + "\n").encode())


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    with errors_as(DataError, f"{path} cannot be read"):
        file = open_utf8(path)
    with file:
        yield file


def rows(
    source: RowsFile,
    numbered: Iterable[tuple[int, Fields | DataError]],
    unit: str,
    place: Callable[[], int] = lambda: 0,
    sides: tuple[str, str] | None = None,
    values: ValuesOfFile | None = None,
) -> Iterator[ParsedRow]:
    """Rows as records; further arguments as of `llamafactory.reader`."""
    read = reader(source.info, source.media, source.ignored, place, sides, values)
    return numbered_rows(source, numbered, read, unit)
