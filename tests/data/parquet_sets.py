"""Records, and parquet files of ours and of others, for tests of the formats in parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from virc.data.formats import rl
from virc.data.formats.registry import RowsFile, Writing
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Id, Message, Picture, Record

CALL = '<think>look</think><tool_call>{"name": "crop_image", "arguments": {"image_index": 0}}</tool_call>'
ANSWER = "<think>clear</think><answer>97</answer>"

PROMPT = [{"role": "user", "content": "<image>Find it."}]
IMAGE = b"\x89PNG not much"


def placed(record: Record, folder: Path) -> Record:
    """The record with its images in a folder."""
    images = tuple(Picture(picture.name, folder) for picture in record.images)
    return msgspec.structs.replace(record, images=images)


def with_bytes(record: Record) -> Record:
    images = tuple(Picture(picture.name, Path(), picture.read()) for picture in record.images)
    return msgspec.structs.replace(record, images=images)


def written(to: Path, module: Any, found: Sequence[Record], embed: bool = False, name: str = "set") -> RowsFile:
    """Write records into a folder, as converting does: in a hidden one that then becomes `to`."""
    partial = to.with_name(f".{to.name}.partial")
    partial.mkdir(parents=True)
    module.write(partial, name, found, Writing(PictureStore(partial), embed))
    partial.rename(to)
    return RowsFile(to / f"{name}.parquet", module.NAME, name)


def known(rows: Sequence[ParsedRow]) -> list[Record]:
    """The records of rows, none of which may have a fault or flaw."""
    assert not [row for row in rows if row.fault or row.flaws]
    return [row.record for row in rows if row.record]


def example(count: int = 3, folder: Path = Path(), id: Id | None = "a") -> Record:
    """A trajectory of so many units, which shows an image in each."""
    messages = [Message("system", "Look."), Message("user", "<image>Find it.")]
    for _ in range(count - 1):
        messages += [Message("assistant", CALL), Message("user", "<image>Go on.")]
    images = tuple(Picture(f"images/{number}.png", folder) for number in range(count))
    return Record((*messages, Message("assistant", ANSWER)), images, id, "Find it.", "97")


def row(**changed: Any) -> dict[str, Any]:
    """A published row, with other values in some columns; `...` takes a column away."""
    fields = {
        "data_source": "virc", "prompt": PROMPT, "images": [{"bytes": IMAGE, "path": "a.png"}], "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "97"},
        "extra_info": {"index": 0, "question": "Find it.", "tool_info_gt": {"name": "crop_image"}},
    }  # fmt: skip
    return {name: value for name, value in (fields | changed).items() if value is not ...}


def info(**changed: Any) -> dict[str, Any]:
    return {"extra_info": {"index": 0, "question": "Find it."} | changed}


def source(tmp_path: Path, *rows: dict[str, Any], schema: Any = None) -> RowsFile:
    path = tmp_path / "others.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return RowsFile(path, "rl", "others")


def read(tmp_path: Path, *rows: dict[str, Any], schema: Any = None) -> list[ParsedRow]:
    return list(rl.read(source(tmp_path, *rows, schema=schema)))


def only(rows: list[ParsedRow]) -> Record:
    (found,) = rows
    assert found.record, found.fault
    return found.record
