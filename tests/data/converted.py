"""What tests of conversions need: datasets to convert, the command, and what is in a dataset."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.data.formats import registry as formats
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Record
from virc_cli.main import main


def convert(*words: object) -> int:
    """The exit code of `virc data convert` with these words; trajectories are gone through in this process."""
    return main(["data", "convert", *map(str, words), "--workers", "1"])


def write(folder: Path, format: str, records: Sequence[Record], name: str = "rows") -> Path:
    """A dataset in a new folder."""
    folder.mkdir(parents=True)
    formats.get(format).write(folder, name, records, formats.Writing(PictureStore(folder)))
    return folder


def records(path: Path) -> dict[str, list[Record]]:
    """The records of each dataset at a path, their images as bytes without names."""
    found = {}
    for source in formats.sources(path):
        rows = source.rows()
        found[source.name] = [bare(row.record) for row in rows if row.record]
    return found


def bare(record: Record) -> Record:
    """The record with its images as bytes without names."""
    pictures = tuple(
        msgspec.structs.replace(picture, name="", folder=Path(), data=picture.read(), fetched=False)
        for picture in record.images
    )
    return msgspec.structs.replace(record, images=pictures)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def told(out: str) -> dict[str, Any]:
    """The one JSON object on stdout."""
    value: dict[str, Any] = json.loads(out)
    return value
