"""Rows of files that others made, as they stand there: JSON, tables, parquet, Arrow, shards of WebDataset, and COCO.

`rows` chooses the reader of a file by its ending; each reader yields a row's number with its fields or a fault.
Then come files that make one dataset: numbered shards, and folders that `save_to_disk` of Hugging Face datasets wrote.
"""

import json
import mimetypes
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from virc.core.errors import UNREADABLE, DataError, SetupError, UnreadError, errors_as
from virc.core.files import contents, is_file
from virc.core.json_stream import MAX_ROW_BYTES, check_keys, object_rows, reader_of
from virc.core.tables import parquet
from virc.core.tables.delimited import Numbered, read_table, with_images
from virc.core.tables.encodings import open_utf8
from virc.core.tables.parquet import Read
from virc.core.text import clause
from virc.data.rows.coco import coco_in, rows_of_coco
from virc.solving.sources.picture_files import ENDINGS as PICTURES

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".tar")
_IPC_FILE = b"ARROW1"
_MAX_TRIED = 100
_JSON, _ARRAYS = ("json", "jsn"), ("npy", "npz", "pth", "ten", "tb", "pickle", "pyd", "cbor", "mp", "msg")
"""Endings in shards, as webdataset 1.0.2 decodes them."""
_NUMBERED = re.compile(rf"(\D*)(\d{{1,6}})(?:{'|'.join(map(re.escape, sorted(PICTURES)))})")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_MAX_SHARDS = 10_000
_STATE, _SPLITS = "state.json", "dataset_dict.json"
_NAME = re.compile(r"(?![.])[\w.-]{1,100}")
_MAX_STATE = 2**20


def rows(path: Path, start: int = 1) -> Iterator[Read]:
    if path.is_dir():
        yield from rows_of(saved_files(path), start)
    elif path.suffix.lower() == ".parquet":
        yield from parquet.read_rows(path, start=start)
    else:
        tables = {".arrow": arrow_rows, ".feather": arrow_rows, ".csv": _cells, ".tsv": _cells}
        read = {**tables, ".tar": _samples}.get(path.suffix.lower())
        if read:
            yield from (each for each in read(path) if each[0] >= start)
        else:
            yield from _of_json(path, start)


def rows_of(files: Iterable[Path], start: int) -> Iterator[Read]:
    before = 0
    for file in files:
        last = 0
        for number, fields in rows(file):
            last = number + (fields.rows or 0 if isinstance(fields, UnreadError) else 0)
            if before + number >= start:
                yield before + number, fields
        before += last


def beginning(path: Path, most: int) -> list[dict[str, Any]]:
    try:
        return list(islice((row for _, row in islice(rows(path), _MAX_TRIED) if isinstance(row, dict)), most))
    except (DataError, SetupError):
        return []


def fault(path: Path) -> DataError | None:
    try:
        _, first = next(rows(path), (0, DataError(f"{path} has no rows")))
    except DataError as error:
        return error
    return first if isinstance(first, DataError) else None


def _of_json(path: Path, start: int) -> Iterator[Read]:
    with errors_as(DataError, f"{path} cannot be read"):
        file = open_utf8(path)
    with file:
        reader = reader_of(file, path.suffix.lower() in (".jsonl", ".ndjson"))
        coco = coco_in(path, file) if reader is object_rows else None
        if coco:
            yield from (each for each in rows_of_coco(*coco) if each[0] >= start)
        else:
            yield from reader(file, start)


def _cells(path: Path) -> Iterator[Read]:
    def cells() -> Iterator[Numbered]:
        with open_utf8(path) as file:
            yield from read_table(file).rows

    for _, number, fields in with_images(cells(), cells):
        yield number, fields


def _samples(path: Path) -> Iterator[Read]:
    """The samples of a shard of WebDataset: files of one name, each under its ending; of JSON its keys.

    The files of a sample may be apart in the shard. Where an ending comes again, another sample of that name begins.
    """
    number, trouble = 0, None
    try:
        with tarfile.open(path, "r:") as shard:
            groups, trouble = _grouped(shard)
            of_name = Counter(key for key, _ in groups)
            endings = {(key, frozenset(members)) for key, members in groups}
            mixed = {key for key, count in of_name.items() if count > 1} & {
                key for key, count in Counter(key for key, _ in endings).items() if count > 1
            }
            for number, (key, members) in enumerate(groups, 1):
                if key in mixed:
                    what = f"{of_name[key]} samples of {path} are called {key}, and their files cannot be told apart"
                    yield number, UnreadError(f"row {number}: {what}")
                else:
                    yield number, _sample(shard, key, members)
            if trouble:
                raise trouble
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        number += error is trouble
        yield max(number, 1), UnreadError(f"row {max(number, 1)}: {path} cannot be read: {clause(error)}")


_Members = dict[str, tarfile.TarInfo]
"""The files of a sample by their endings, in small letters."""


def _grouped(shard: tarfile.TarFile) -> tuple[list[tuple[str, _Members]], Exception | None]:
    """The samples in the order of their first files; and the error that ends the list of files early, if one does."""
    groups, latest = list[tuple[str, _Members]](), dict[str, _Members]()
    try:
        for member in shard:
            path = PurePosixPath(member.name)
            stem, dot, ending = path.name.partition(".")
            if not (member.isfile() and stem and dot):  # as webdataset 1.0.2 and datasets 5.2.0
                continue
            key, ending = str(path.with_name(stem)), ending.lower()
            if key not in latest or ending in latest[key]:
                latest[key] = {}
                groups.append((key, latest[key]))
            latest[key][ending] = member
    except (tarfile.TarError, OSError) as error:
        return groups, error
    return groups, None


def _sample(shard: tarfile.TarFile, key: str, members: _Members) -> dict[str, Any]:
    if sum(member.size for member in members.values()) > MAX_ROW_BYTES:
        raise ValueError(f"{key} is over {MAX_ROW_BYTES >> 20} MiB")
    fields: dict[str, Any] = {"key": key}
    for ending, member in members.items():
        opened = shard.extractfile(member)
        data = opened.read() if opened else b""
        if f".{ending.rpartition('.')[2]}" in PICTURES:
            fields[ending] = data
        else:
            name, _, kind = ending.rpartition(".")
            value = _decoded(kind, data)
            fields |= value if isinstance(value, dict) and not name else {name or kind: value}
    # pictures that are told apart by a number are in its order, or in that of their names in the JSON
    numbered = [(match[1], int(match[2]), name) for name in members if (match := _NUMBERED.fullmatch(name))]
    names = fields.get("images", [name for *_, name in sorted(numbered)])
    are_one = len({prefix for prefix, *_ in numbered}) == 1 and isinstance(names, list)
    if are_one and sorted(map(str, names)) == sorted(name for *_, name in numbered):
        fields["images"] = [fields.pop(name) for name in names]
    return fields


def _decoded(ending: str, data: bytes) -> Any:
    if ending in _JSON:
        value = msgspec.json.decode(data)
        check_keys(data, value)
        return value
    kind = mimetypes.guess_type(f"a.{ending}")[0] or ""
    try:
        return data if kind.startswith(("audio/", "video/")) or ending in _ARRAYS else data.decode()
    except UnicodeDecodeError:
        return data


def shards_of(file: Path) -> tuple[Path, ...]:
    number = _SHARD.search(file.stem)
    if not number:
        return ()
    count = min(int(number[2]), _MAX_SHARDS)
    names = (f"{dataset_name(file)}-{at:05}-of-{number[2]}{file.suffix}" for at in range(count))
    return tuple(each for each in map(file.with_name, names) if each.is_file())


def dataset_name(file: Path) -> str:
    return _SHARD.sub("", file.stem)


def missing_shards(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    parts = {dataset_name(each): (each, int(number[2])) for each in files if (number := _SHARD.search(each.stem))}
    counts = {name: (len(shards_of(each)), count) for name, (each, count) in parts.items()}
    return [
        f"{folder} has {present} of the {total} files of {name}"
        for name, (present, total) in counts.items()
        if present < total
    ]


def is_saved(folder: Path) -> bool:
    return is_file(folder / _SPLITS) or is_file(folder / _STATE)


def saved_splits(folder: Path) -> list[str]:
    if not is_file(folder / _SPLITS):
        return []
    return [name for name in _list_in(folder / _SPLITS, "splits") if isinstance(name, str) and _NAME.fullmatch(name)]


def saved_files(folder: Path) -> list[Path]:
    named = [each.get("filename") for each in _list_in(folder / _STATE, "_data_files") if isinstance(each, dict)]
    known = [folder / name for name in named if isinstance(name, str) and _NAME.fullmatch(name)]
    inside = [file for file in known if file.resolve().is_relative_to(folder.resolve()) and _may_be_read(file)]
    if not inside or len(inside) < len(named):
        raise DataError(f"{folder / _STATE} does not name files of rows next to it")
    return inside


def arrow_rows(file: Path) -> Iterator[Read]:
    """The rows of an Arrow file in order; where it cannot be read, one fault ends them.

    It is mapped, not read, so that a batch of large images takes the memory of one row.
    """
    parquet.load()
    import pyarrow  # type: ignore[import-untyped, unused-ignore]

    number = 1
    try:
        with pyarrow.memory_map(str(file)) as mapped:
            ipc = opened_ipc(mapped)
            is_stream = isinstance(ipc, pyarrow.ipc.RecordBatchStreamReader)
            batches = ipc if is_stream else map(ipc.get_batch, range(ipc.num_record_batches))
            for batch in batches:
                batch.validate(full=True)
                for row in range(batch.num_rows):
                    for fields in parquet.each_row(batch.slice(row, 1)):
                        yield number, fields
                        number += 1
    except Exception as error:  # pyarrow raises nearly everything on hostile bytes
        yield number, UnreadError(f"row {number}: {file} cannot be read: {clause(error)}")


def opened_ipc(mapped: Any) -> Any:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]

    is_file_format = mapped.read(len(_IPC_FILE)) == _IPC_FILE
    mapped.seek(0)
    return pyarrow.ipc.open_file(mapped) if is_file_format else pyarrow.ipc.open_stream(mapped)


def _may_be_read(file: Path) -> bool:
    """Whether it is a file of bytes, or missing, which is met where it is read; a pipe would be waited for."""
    return is_file(file) or not os.path.lexists(file)


def _list_in(file: Path, key: str) -> list[Any]:
    if not _may_be_read(file):
        raise DataError(f"{file} is no file")
    with errors_as(DataError, f"{file} cannot be read", caught=UNREADABLE):
        value = json.loads(contents(file, _MAX_STATE))
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{file} has no list {key}")
    return found
