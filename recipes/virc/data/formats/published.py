"""Rows as others published them: a layout says which column is what. They are only read.

Files are JSON, JSONL, parquet, or a folder that `datasets.save_to_disk` wrote.

A layout is one of the system that is named, or one that many share (`virc.systems.layouts`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

from virc.core.errors import DataError, SetupError, UnreadError, UsageError
from virc.core.files import is_file
from virc.core.json_stream import array_rows, line_rows, list_rows
from virc.core.text import plain
from virc.data.formats.registry import PUBLISHED, Holds, LaidOut, Row, Source, Writing
from virc.data.formats.sft import COLUMNS, opened
from virc.data.rows import paired, saved
from virc.data.rows import parquet as parquet_rows
from virc.data.rows.laid_out import records_of, system_of
from virc.models.chat_protocol import of_system as protocol_of
from virc.reasoning.protocol import FILE_NAME
from virc.systems.layouts import registry as shared_layouts
from virc.systems.registry import System

NAME = PUBLISHED
SUMMARY = "rows as others published them, in a layout of their system; they are only read"
HOLDS: Holds = "problems"
LOST = ""
_Read = tuple[int, dict[str, Any] | DataError]
_ENDINGS = (".json", ".jsonl", ".parquet")
_MOST_TRIED = 100
_MOST_COMPARED = 20
_MOST_NAMED = 12


def recognises(path: Path) -> bool:
    """Whether most of its first rows that can be read fit a shared layout, and none is a conversation."""
    return shared(path, None) is not None


def shared(path: Path, system: System | None) -> LaidOut | None:
    """The shared layout that most of a file's first rows fit, where these are pairs, or no conversations."""
    found = _first_that_fits(path, _shared(system))
    return None if found and found.layout.chosen is None and _is_conversation(path) else found


def of_system(path: Path, system: System | None) -> LaidOut | None:
    """The layout of a system that most of a file's first rows fit; of several the first."""
    return _first_that_fits(path, _own(system))


def layouts(system: System | None) -> list[LaidOut]:
    """The layouts that a file may have, in the order in which they are tried."""
    return [*_own(system), *_shared(system)]


def columns_of(path: Path) -> str:
    """The names of the columns of a file, to be shown; empty where they cannot be read."""
    row = next(iter(_beginning(path)), {})
    return ", ".join(plain(name, 40) for name in islice(row, _MOST_NAMED)) + ", …" * (len(row) > _MOST_NAMED)


def unread(folder: Path) -> DataError | None:
    """Why no row of a folder of `datasets.save_to_disk` can be read; None where one can, or it is none."""
    if not folder.is_dir():
        return None
    try:
        _, first = next(_rows(folder), (0, DataError(f"{folder} has no rows")))
    except DataError as error:
        return error
    return first if isinstance(first, DataError) else None


def read(source: Source, start: int = 1) -> Iterator[Row]:
    """The rows of the file. Raises DataError: it cannot be opened; SetupError: parquet without pyarrow."""
    assert source.laid_out
    layout, protocol = source.laid_out.layout, source.laid_out.protocol
    for number, fields in _rows_of(source.shards, start) if source.shards else _rows(source.file, start):
        try:
            if isinstance(fields, DataError):
                raise fields
            made = paired.records_of if layout.chosen is not None else records_of
            for record in made(fields, number, layout, source.media, protocol):
                yield Row(number, record)
        except UnreadError as fault:
            yield Row(number, fault=fault)
        except DataError as fault:
            message = fault.message if fault.message.startswith("row ") else f"row {number}: {fault.message}"
            yield Row(number, fault=DataError(message, fault.hint))


def write(folder: Path, name: str, records: Iterable[object], settings: Writing) -> int:
    """Raises UsageError: there is no one layout to write."""
    raise UsageError(f"rows are not written in the format {NAME}", "--format sft, pairs, batch or prompts")


def _own(system: System | None) -> list[LaidOut]:
    if system is None or not system.rows:
        return []
    protocol = protocol_of(system).protocol
    return [LaidOut(name, layout, protocol) for name, layout in system.rows.items()]


def _shared(system: System | None) -> list[LaidOut]:
    protocol = protocol_of(system).protocol if system else None
    return [LaidOut(name, layout, protocol) for name, layout in shared_layouts.discover().items()]


def _first_that_fits(path: Path, known: Iterable[LaidOut]) -> LaidOut | None:
    if path.suffix not in _ENDINGS and not path.is_dir():
        return None
    if path.suffix == ".parquet" and (names := _names(path)) is not None:
        known = [each for each in known if each.layout.fits_names(names)]
    known = [each for each in known if each.layout.of_file(path.name)]
    rows = _beginning(path) if known else []
    if any(map(_is_written_here, rows)):
        return None
    fitting = [(each, [row for row in rows if each.layout.fits(row)]) for each in known]
    least = max(1, len(rows) / 2)
    there = [(each, its) for each, its in fitting if len(its) >= least and not _is_in_other_words(path, its[0], each)]
    best = max(there, key=lambda pair: len(pair[1]), default=None)
    return best[0] if best else None


def _is_in_other_words(path: Path, row: Mapping[str, Any], known: LaidOut) -> bool:
    """Whether the conversations of a file are not in the words of a layout's system: their chat protocol lies beside
    them, as this package writes it, or the first has another system message.
    """
    if known.layout.messages is None or known.protocol is None:
        return False
    told = system_of(row, known.layout)
    other = told is not None and told.strip() != known.protocol.system.strip()
    return other or is_file((path if path.is_dir() else path.parent) / FILE_NAME)


def _is_written_here(row: Mapping[str, Any]) -> bool:
    """Whether this package wrote a row in verl's columns, which published rows may have too."""
    info = row.get("extra_info")
    return isinstance(info, Mapping) and "id_is_int" in info


def _is_conversation(path: Path) -> bool:
    """Whether a file of JSON has the column of a format of conversations."""
    return path.suffix != ".parquet" and any(not row.keys().isdisjoint(COLUMNS) for row in _beginning(path))


def _names(path: Path) -> set[str] | None:
    """The names of the columns of a parquet file, those of objects too; None where they cannot be read."""
    try:
        return {name.partition(".")[0] for name in parquet_rows.column_names(path)}
    except (DataError, SetupError):
        return None


def _beginning(path: Path) -> list[Mapping[str, Any]]:
    """The first rows that can be read, of the first hundred; none where the file cannot be."""
    try:
        rows = (row for _, row in islice(_rows(path), _MOST_TRIED) if isinstance(row, dict))
        return list(islice(rows, _MOST_COMPARED))
    except (DataError, SetupError):
        return []


def _rows(path: Path, start: int = 1) -> Iterator[_Read]:
    """The rows of a file, or of a folder of `datasets.save_to_disk`, with their numbers."""
    if path.is_dir():
        yield from _rows_of(saved.files(path), start)
    elif path.suffix == ".parquet":
        yield from parquet_rows.read_rows(path, start=start)
    elif path.suffix == ".arrow":
        yield from (each for each in saved.read_rows(path) if each[0] >= start)
    else:
        with opened(path) as file:
            yield from _reader(path, file)(file, start)


def _reader(path: Path, file: IO[bytes]) -> Callable[[IO[bytes], int], Iterator[_Read]]:
    """What reads a file of JSON: of lines, of one array, or of one object with a list."""
    if path.suffix == ".jsonl":
        return line_rows
    try:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
    except OSError:  # it is met again where rows are read
        return array_rows
    return list_rows if start.startswith(b"{") else array_rows


def _rows_of(files: Iterable[Path], start: int) -> Iterator[_Read]:
    """The rows of several files, numbered on."""
    before = 0
    for file in files:
        last = 0
        for number, fields in _rows(file):
            last = number + (fields.rows or 0 if isinstance(fields, UnreadError) else 0)
            if before + number >= start:
                yield before + number, fields
        before += last
