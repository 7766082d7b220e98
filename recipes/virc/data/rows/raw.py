"""Rows of files that others made, as they stand there: JSON, tables, parquet, Arrow, shards of WebDataset, and COCO."""

import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from virc.core.errors import DataError, SetupError, UnreadError
from virc.core.files import contents
from virc.core.json_stream import MAX_ROW_BYTES, array_rows, keyed_rows, line_rows, list_rows
from virc.core.tables import parquet
from virc.core.tables.delimited import read_table
from virc.core.tables.encodings import open_utf8
from virc.core.text import clause
from virc.data.rows import saved
from virc.solving.sources.picture_files import ENDINGS as PICTURES

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".tar")
Read = tuple[int, dict[str, Any] | DataError]
"""A row's number, from 1, and its values by column or why it has none."""
_MAX_TRIED = 100
_HEAD = 2**16
_MAX_COCO = 2**31  # bytes: of all of it rows are made at once
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_MAX_SHARDS = 10_000


def rows(path: Path, start: int = 1) -> Iterator[Read]:
    """The rows of a file, or of a folder of `datasets.save_to_disk`, from the number `start` on."""
    if path.is_dir():
        yield from rows_of(saved.files(path), start)
    elif path.suffix == ".parquet":
        yield from parquet.read_rows(path, start=start)
    else:
        read = {".arrow": saved.read_rows, ".tar": _samples, ".csv": _cells, ".tsv": _cells}.get(path.suffix)
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
    """The first rows that can be read, of the first hundred; none where the file cannot be."""
    try:
        return list(islice((row for _, row in islice(rows(path), _MAX_TRIED) if isinstance(row, dict)), most))
    except (DataError, SetupError):
        return []


def fault(path: Path) -> DataError | None:
    """Why no row of a file can be read; None where one can."""
    try:
        _, first = next(rows(path), (0, DataError(f"{path} has no rows")))
    except DataError as error:
        return error
    return first if isinstance(first, DataError) else None


def _of_json(path: Path, start: int) -> Iterator[Read]:
    try:
        file = open_utf8(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {clause(error)}") from None
    with file:
        head = b""
        with suppress(OSError):  # it is met again where rows are read
            head = file.read(_HEAD).lstrip()
            file.seek(0)
        if _is_lines(head) or (path.suffix in (".jsonl", ".ndjson") and not _is_array(head)):
            yield from line_rows(file, start)
        elif not head.startswith(b"{"):
            yield from array_rows(file, start)
        elif b'"images"' in head and (found := _as_coco(path)):
            yield from (each for each in _of_coco(found) if each[0] >= start)
        else:
            yield from _of_object(file, start)


def _is_lines(head: bytes) -> bool:
    """Whether a file begins with a whole object on its first line, and another on its second."""
    first, end, second = head.partition(b"\n")
    if not (end and first.startswith(b"{") and second.lstrip().startswith(b"{")):
        return False
    try:
        return isinstance(msgspec.json.decode(first), dict)
    except (ValueError, RecursionError):
        return False


def _is_array(head: bytes) -> bool:
    """Whether a file named as one of lines begins with a list that is not one of its lines."""
    first, _, second = head.partition(b"\n")
    if not first.startswith(b"[") or not second.strip():
        return first.startswith(b"[{")
    try:
        return not isinstance(msgspec.json.decode(first), list)
    except (ValueError, RecursionError):
        return True


def _of_object(file: IO[bytes], start: int) -> Iterator[Read]:
    """The rows of one object: those of its list of objects; where it has none, its values, each with its `key`."""
    for number, fields in list_rows(file, start):
        if number == 1 and isinstance(fields, UnreadError) and "without a list of objects" in fields.message:
            file.seek(0)
            yield from keyed_rows(file, start)
            return
        yield number, fields


def _cells(path: Path) -> Iterator[Read]:
    with open_utf8(path) as file:
        for _, number, fields in read_table(file).rows:
            yield number, fields


def _samples(path: Path) -> Iterator[Read]:
    """The samples of a shard of WebDataset: files of one name, each under its ending; of JSON its keys."""
    number, size, name, fields = 0, 0, None, dict[str, Any]()
    try:
        with tarfile.open(path, "r|") as shard:
            for member in shard:
                if not member.isfile() or PurePosixPath(member.name).name.startswith("."):
                    continue
                stem, _, ending = PurePosixPath(member.name).name.partition(".")
                key = str(PurePosixPath(member.name).with_name(stem))
                if key != name and fields:
                    number += 1
                    yield number, fields
                if key != name:
                    name, fields = key, {"key": key}
                    size = 0
                size += member.size
                if size > MAX_ROW_BYTES:
                    raise ValueError(f"{key} is over {MAX_ROW_BYTES >> 20} MiB")
                fields |= _member(shard, member, ending.lower())
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        yield number + 1, UnreadError(f"row {number + 1}: {path} cannot be read: {clause(error)}")
        return
    if fields:
        yield number + 1, fields


def _member(shard: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> dict[str, Any]:
    opened = shard.extractfile(member)
    data = opened.read() if opened else b""
    if f".{ending.rpartition('.')[2]}" in PICTURES:
        return {ending: data}
    value = msgspec.json.decode(data) if ending == "json" else data.decode()
    return value if isinstance(value, dict) else {ending: value}


class _Image(msgspec.Struct):
    id: int | str
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int | str | None = None
    bbox: list[float] | None = None
    caption: str | None = None


class _Category(msgspec.Struct):
    id: int | str
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


def _as_coco(path: Path) -> _Coco | None:
    try:
        return msgspec.json.decode(contents(path, _MAX_COCO), type=_Coco)
    except (OSError, ValueError, RecursionError):
        return None


def _of_coco(found: _Coco) -> Iterator[Read]:
    """A row for each picture and each category in it, with all of its boxes, or for each caption."""
    names: dict[Any, str] = {each.id: each.name for each in found.categories}
    marked: dict[Any, dict[Any, list[list[float]]]] = {}
    captions: dict[Any, list[str]] = {}
    for each in found.annotations:
        if each.caption is not None:
            captions.setdefault(each.image_id, []).append(each.caption)
        elif each.bbox is not None:
            marked.setdefault(each.image_id, {}).setdefault(names.get(each.category_id), []).append(each.bbox)
    number = 0
    for image in found.images:
        questions: list[dict[str, Any]] = [
            {"question": f"Where is each {name or 'object'}?", "category": name, "bbox_xywh": boxes}
            for name, boxes in marked.get(image.id, {}).items()
        ]
        if image.id in captions:
            questions.append({"question": "What does the picture show?", "answers": captions[image.id]})
        for asked in questions:
            number += 1
            yield number, {"image_id": image.id, "file_name": image.file_name, **asked}


def shards_of(file: Path) -> tuple[Path, ...]:
    """All files of the dataset that a file is a part of, as far as they are there; empty where it is a whole one."""
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
    return [f"{folder} has {here} of the {all_} files of {its}" for its, (here, all_) in counts.items() if here < all_]
