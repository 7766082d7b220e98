"""Parquet that is damaged, of another kind, or made to fill the memory: a fault says so, and what is sound is read."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from data.parquet_sets import IMAGE, PROMPT, info, only, read, row

from virc.core.errors import DataError
from virc.core.tables import parquet as parquet_rows
from virc.data.formats import prompts, rl
from virc.data.formats.registry import RowsFile


def test_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    content = pa.array([b"good", b"bad \xff\xfe", b"good"], pa.binary()).view(pa.string())
    message = pa.StructArray.from_arrays([pa.array(["user"] * 3), content], ["role", "content"])
    prompt = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), message)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": prompt}), path)
    rows = list(rl.read(RowsFile(path, "rl", "x")))
    assert [found.number for found in rows] == [1, 2, 3]
    assert [found.fault is None for found in rows] == [True, False, True]
    assert rows[1].fault
    assert "utf-8" in rows[1].fault.message


def test_a_damaged_group_of_rows_costs_that_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [row(images=[{"bytes": os.urandom(500), "path": None}]) for _ in range(30)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10, compression="zstd")
    column = next(index for index in range(20) if pq.read_metadata(path).schema.column(index).path.endswith("bytes"))
    start = pq.read_metadata(path).row_group(1).column(column).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    found = list(rl.read(RowsFile(path, "rl", "x")))
    assert [each.number for each in found if each.record] == [*range(1, 11), *range(21, 31)]
    (fault,) = (each.fault for each in found if each.fault)
    assert fault.message.startswith("rows 11 to 20 cannot be read: ")


def test_a_row_that_repeats_an_image_beyond_all_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 times the same 100 KB in a file of a few KB; with more of both it would be a TB."""
    monkeypatch.setattr(parquet_rows, "MAX_ROW_BYTES", 50 * 2**20)
    image = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([bytes(100_000)]))
    path = tmp_path / "x.parquet"
    images = pa.ListArray.from_arrays(pa.array([0, 1000, 1000], pa.int32()), image)
    pq.write_table(pa.table({"prompt": [PROMPT, PROMPT], "images": images}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    first, second = rl.read(RowsFile(path, "rl", "x"))
    assert first.fault
    assert "it is over 50 MiB" in first.fault.message
    assert second.record


def test_more_rows_than_bytes_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": pa.array([None] * 100_000, pa.string())}), path)
    with pytest.raises(DataError, match="claims 100000 rows, more than it has bytes"):
        list(rl.read(RowsFile(path, "rl", "x")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read as parquet"),
        (b"PAR1", "cannot be read as parquet"),
        (b"PAR1PAR1", "cannot be read as parquet"),
        (b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1", "cannot be read as parquet"),
        (b"PAR1" + bytes(100) + b"\x10\x00\x00\x00PAR1", "cannot be read as parquet"),
        (b'[{"id": 1}]', "cannot be read as parquet"),
    ],
)
def test_what_is_no_parquet_says_so_when_it_is_read(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    assert rl.recognises(path)
    assert not prompts.recognises(path)
    for module in (rl, prompts):
        with pytest.raises(DataError, match=sentence):
            list(module.read(RowsFile(path, module.NAME, "x")))


@pytest.mark.parametrize(
    ("images", "names", "data"),
    [
        ([{"bytes": IMAGE, "path": "a.png"}], ["a.png"], [IMAGE]),
        ([{"bytes": None, "path": "i/a.png"}], ["i/a.png"], [None]),
        ([{"image": IMAGE}], [""], [IMAGE]),
        ('["i/a.png"]', ["i/a.png"], [None]),
        (..., [], []),
    ],
)
def test_images_are_read_in_every_form(tmp_path: Path, images: Any, names: list[str], data: list[Any]) -> None:
    record = only(read(tmp_path, row(images=images)))
    assert [picture.name for picture in record.images] == names
    assert [picture.data for picture in record.images] == data
    assert {picture.folder for picture in record.images} <= {tmp_path}
    assert all(picture.confined for picture in record.images)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": None}, "prompt is empty"),
        ({"prompt": "[" * 100_000}, "prompt is not JSON"),
        ({"prompt": [{"role": "user", "content": None}]}, "prompt is not a list of messages"),
        ({"prompt": 5}, "prompt is not a list"),
        ({"images": [5]}, "image 0 is neither"),
        ({"extra_info": "[]"}, "extra_info is not an object"),
        (info(reference=[1]), "extra_info.reference is not text"),
        (info(id="x", id_is_int=True), "extra_info.id is not the whole number"),
    ],
)
def test_a_wrong_row_says_what_is_wrong(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.fault
    assert found.fault.message.startswith(f"row 1: {sentence}")
