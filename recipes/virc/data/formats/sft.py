"""Supervised trajectories as LLaMA-Factory reads them: a JSON array beside a `dataset_info.json`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from virc.core.errors import DataError
from virc.core.json_stream import array_rows, one_line
from virc.core.text import clause
from virc.data.formats.registry import INFO, Holds, Row, Source, Writing, file_for, read_info
from virc.data.rows.record import Record
from virc.data.rows.sft import TAGS, rows

NAME = "sft"
SUMMARY = "trajectories for supervised training, a JSON array as LLaMA-Factory reads it"
HOLDS: Holds = "solutions"
LOST = ""


def recognises(path: Path) -> bool:
    """Whether it is a .json file that holds an array of objects."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as file:
            start = file.read(4096).removeprefix(b"\xef\xbb\xbf").split(maxsplit=2)
    except OSError:
        return False
    return b"".join(start).startswith((b"[{", b"[]"))


def read(source: Source, start: int = 1) -> Iterator[Row]:
    """The rows of the file, with the columns and tags that its info names.

    Raises:
        DataError: the info makes no sense of any row, or the file cannot be opened.
    """
    with opened(source.file) as file:
        yield from rows(source, array_rows(file, start), "row")


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    """`NAME.json`, and its entry in `dataset_info.json`.

    Raises:
        DataError: a record has no messages, or an image that cannot be read.
    """
    file = file_for(folder, name, ".json")
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for count, record in enumerate(records, 1):
            out.write(("[\n" if count == 1 else ",\n") + line_of(record, settings))
        out.write("\n]\n" if count else "[]\n")
    add_info(folder, name, info(file.name))
    return count


def line_of(record: Record, settings: Writing) -> str:
    """The record's row as JSON on one line, its images put where they belong.

    Raises:
        DataError: it has no messages, an image cannot be read, or a field holds what JSON has not.
    """
    if not record.messages:
        raise DataError(
            f"row {record.id!r} has no trajectory, only a problem", "virc data sample makes trajectories"
        )
    try:
        return one_line(row_of(record, settings.pictures.names(record)))
    except ValueError as error:
        raise DataError(f"row {record.id!r} cannot be JSON: {error}") from None


def row_of(record: Record, image_names: Iterable[str]) -> dict[str, Any]:
    """The row of a record; `image_names` are relative to the folder of the file."""
    row: dict[str, Any] = {"id": record.id} if record.id is not None else {}
    row["messages"] = [{"role": message.role, "content": message.content} for message in record.messages]
    row["images"] = list(image_names)
    row |= {key: value for key in ("question", "answer") if (value := getattr(record, key)) is not None}
    return row | {key: value for key, value in record.extra.items() if key not in row}


def info(file_name: str) -> dict[str, Any]:
    """The entry of such a file in `dataset_info.json`."""
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": TAGS,
    }


def add_info(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put a dataset's entry into the folder's `dataset_info.json`, beside those that are there.

    Raises:
        DataError: what is there is no such file.
    """
    text = json.dumps(read_info(folder) | {name: entry}, indent=1) + "\n"
    new = folder / f".{INFO}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(folder / INFO)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file to read rows from.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {clause(error)}") from None
    with file:
        yield file
