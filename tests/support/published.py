"""Three rows in a published layout, from YAML: columns, types and nesting as published, the content our own."""

import base64
import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import msgspec
from support.row_files import (
    COLOURS,
    NUMBERS,
    Row,
    array,
    asked,
    embedded,
    lines,
    parquet,
    png,
    question,
    save_to_disk,
    saved,
)

AT = range(3)


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows in a layout, of which each has its own picture, drawn by `row_files.picture`.

    In texts, `$at` is the number of the row, and `$colour`, `$COLOUR`, `$letter`, `$number`, `$asked`, `$question` and
    `$base64` are what `values` says. As whole values, `$row` is the number as an integer, `$png` the bytes of the
    picture, and `$embedded` the picture as `datasets` saves it. `{each: [A, B, C]}` is another value in each row.

    Args:
        name: of the layout.
        source: where its columns are published.
        file: its name; without a suffix, it is a folder of `datasets.save_to_disk`.
        row: the columns of a row.
        lists: the columns of rows that are lists in one object, by the names of the lists.
        around: the further values of that object.
        form: how rows are written, where the suffix of the file does not say: `lines`, or `keyed` by their numbers.
        images: names of the pictures that lie next to the file.
        beside: further files of JSON, by their names.
    """

    name: str
    file: str
    source: str = ""
    row: Mapping[str, Any] = {}
    lists: Mapping[str, Mapping[str, Any]] = {}
    around: Mapping[str, Any] = {}
    form: str = ""
    images: Sequence[Any] = ()
    beside: Mapping[str, Any] = {}

    def write(self, folder: Path) -> Path:
        """Write the rows, and return the path that a user names."""
        for at in AT:
            for name in filled(self.images, at):
                saved(folder, name, at)
        for name, content in self.beside.items():
            array(folder / name, content)
        file = folder / self.file
        file.parent.mkdir(parents=True, exist_ok=True)
        if self.lists:
            rows = {name: [filled(row, at) for at in AT] for name, row in self.lists.items()}
            return array(file, {**self.around, **rows})
        return _WRITERS[self.form or file.suffix](file, [filled(self.row, at) for at in AT])


def values(at: int) -> dict[str, str]:
    """Return what stands for the names in texts of a row."""
    return {
        "at": str(at),
        "colour": COLOURS[at],
        "COLOUR": COLOURS[at].upper(),
        "letter": "ABC"[at],
        "number": NUMBERS[at],
        "asked": asked(at),
        "question": question(at),
        "base64": base64.b64encode(png(at)).decode(),
    }


_WHOLE: Mapping[str, Callable[[int], Any]] = {"$row": int, "$png": png, "$embedded": embedded}


def filled(value: Any, at: int) -> Any:
    """Return a value of a layout as a row has it."""
    if isinstance(value, str):
        return _WHOLE[value](at) if value in _WHOLE else Template(value).substitute(values(at))
    if isinstance(value, Mapping):
        return filled(value["each"][at], at) if "each" in value else {k: filled(v, at) for k, v in value.items()}
    return [filled(each, at) for each in value] if isinstance(value, list) else value


def _keyed(file: Path, rows: Sequence[Row]) -> Path:
    return array(file, {str(at): row for at, row in enumerate(rows)})


def _table(mark: str) -> Callable[[Path, Sequence[Row]], Path]:
    def write(file: Path, rows: Sequence[Row]) -> Path:
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, rows[0], delimiter=mark, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return file

    return write


def _shard(file: Path, rows: Sequence[Row]) -> Path:
    """A shard of WebDataset, whose members are the columns of the rows."""
    with tarfile.open(file, "w") as shard:
        for at, row in enumerate(rows):
            for suffix, content in row.items():
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                member = tarfile.TarInfo(f"{at:06}.{suffix}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return file


_WRITERS: Mapping[str, Callable[[Path, Sequence[Row]], Path]] = {
    ".json": array, ".jsonl": lines, ".parquet": parquet, ".csv": _table(","), ".tsv": _table("\t"), ".tar": _shard,
    "": save_to_disk, "lines": lines, "keyed": _keyed,
}  # fmt: skip


@cache
def _layouts() -> Mapping[str, Layout]:
    file = Path(__file__).with_suffix(".yaml")
    return {layout.name: layout for layout in msgspec.yaml.decode(file.read_bytes(), type=list[Layout])}


def writer(name: str) -> Callable[[Path], Path]:
    """Return what writes the rows of a layout in `published.yaml` below a folder, and returns their file."""
    return _layouts()[name].write
