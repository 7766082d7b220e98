"""Folders that `datasets.save_to_disk` writes: Arrow files, named by `state.json`, or such a folder for each split."""

import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virc.core.errors import DataError, UnreadError
from virc.core.files import contents, is_file
from virc.core.tables.parquet import Read, each_row, load
from virc.core.text import clause

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_NAME = re.compile(r"(?![.])[\w.-]{1,100}")
_MOST_BYTES = 2**20


def is_saved(folder: Path) -> bool:
    return is_file(folder / _SPLITS) or is_file(folder / _STATE)


def splits(folder: Path) -> list[str]:
    """The names of the splits of a folder; none where it is one itself. Raises DataError: its file names none."""
    if not is_file(folder / _SPLITS):
        return []
    return [name for name in _listed(folder / _SPLITS, "splits") if isinstance(name, str) and _NAME.fullmatch(name)]


def files(folder: Path) -> list[Path]:
    """The files of rows of a split, in order. Raises DataError: it names none, or others than those in it."""
    named = [each.get("filename") for each in _listed(folder / _STATE, "_data_files") if isinstance(each, dict)]
    known = [folder / name for name in named if isinstance(name, str) and _NAME.fullmatch(name)]
    inside = [file for file in known if file.resolve().is_relative_to(folder.resolve()) and _may_be_read(file)]
    if not inside or len(inside) < len(named):
        raise DataError(f"{folder / _STATE} does not name files of rows beside it")
    return inside


def read_rows(file: Path) -> Iterator[Read]:
    """The rows of an Arrow file in order; where it cannot be read, one fault ends them.

    It is mapped, not read, so that a batch of large images takes the memory of one row. A compressed batch would be
    unpacked whole; `save_to_disk` writes none.
    """
    load()
    import pyarrow  # type: ignore[import-untyped, unused-ignore]

    number = 1
    try:
        with pyarrow.memory_map(str(file)) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
            messages = pyarrow.ipc.MessageReader.open_stream(pyarrow.memory_map(str(file)))
            while _has_batch(messages):
                batch = stream.read_next_batch()
                batch.validate(full=True)
                for row in range(batch.num_rows):
                    for fields in each_row(batch.slice(row, 1)):
                        yield number, fields
                        number += 1
    except Exception as error:  # pyarrow raises nearly everything on hostile bytes
        yield number, UnreadError(f"row {number}: {file} cannot be read: {clause(error)}")


def _may_be_read(file: Path) -> bool:
    """Whether it is a file of bytes, or missing, which is met where it is read; a pipe would be waited for."""
    return is_file(file) or not os.path.lexists(file)


def _has_batch(messages: Any) -> bool:
    """Whether one more batch follows. Raises DataError: its bytes, or those of its dictionaries, are compressed."""
    for message in messages:
        if message.type in ("record batch", "dictionary") and _is_compressed(message):
            raise DataError("its rows are compressed, as those of save_to_disk never are")
        if message.type == "record batch":
            return True
    return False


def _is_compressed(message: Any) -> bool:
    """Whether the flatbuffer of a message says so, whose fields are numbered in apache/arrow, format/Message.fbs."""
    data = message.metadata.to_pybytes()
    batch = _target(data, _field(data, _target(data, 0), 2))  # Message.header
    if message.type == "dictionary":
        batch = _target(data, _field(data, batch, 1))  # DictionaryBatch.data
    return bool(_field(data, batch, 3))  # RecordBatch.compression


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table of a flatbuffer is; 0 where the table has none."""
    names = table - int(struct.unpack_from("<i", data, table)[0])
    size, place = struct.unpack_from("<H", data, names)[0], 4 + 2 * number
    offset = struct.unpack_from("<H", data, names + place)[0] if place < size else 0
    return table + int(offset) if offset else 0


def _target(data: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _listed(file: Path, key: str) -> list[Any]:
    """A list in a file of JSON. Raises DataError: there is none."""
    if not _may_be_read(file):
        raise DataError(f"{file} is no file")
    try:
        value = json.loads(contents(file, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {clause(error)}") from None
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{file} has no list {key}")
    return found
