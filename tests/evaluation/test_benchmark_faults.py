"""Benchmarks that are damaged or made to do harm: a fault says what is wrong, and the sound rows are read."""

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from evaluation.published import (
    Fields,
    choice,
    figure,
    mathvista,
    mathvista_json,
    picture,
    search,
    vstar,
    vstar_parquet,
)
from support.solving import open_source

from virc.core.errors import DataError
from virc.evaluation.benchmarks.registry import find
from virc.solving.rows import Row


def rows(folder: Path) -> list[Row]:
    return list(find(str(folder), Path()).rows())


def fault(folder: Path) -> str:
    """The one fault there is; the row behind it is sound."""
    wrong, right = rows(folder)
    assert right.fault is None
    assert (wrong.line, right.line) == (1, 2)
    assert wrong.fault
    return wrong.fault.message


FIGURES: list[tuple[Fields, str]] = [
    ({"answer": None}, "its answer, column answer, is empty"),
    ({"answer": ""}, "its answer, column answer, is empty"),
    ({"question": None}, "the question is empty"),
    ({"question": " "}, "the question is empty"),
    ({"question": "x" * (2**20 + 1)}, "the question is over 1 MiB"),
    ({"precision": -1.0}, "its precision -1 is no number of decimals from 0 to 15"),
    ({"precision": 1e300}, "its precision 1e+300 is no number of decimals"),
    ({"precision": 0.5}, "its precision 0.5 is no number of decimals"),
    ({"image": None, "decoded_image": None}, "it has no image"),
    ({"image": None, "decoded_image": {"bytes": None, "path": None}}, "is empty, and an image is due"),
    ({"image": "images/none.jpg", "decoded_image": None}, "the image images/none.jpg cannot be read: no such file"),
    ({"image": "/etc/passwd", "decoded_image": None}, "it is outside the dataset's folder"),
    ({"image": None, "decoded_image": {"path": "../../etc/passwd"}}, "it is outside the dataset's folder"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(FIGURES)))
def test_a_wrong_row_of_mathvista_says_what_is_wrong(tmp_path: Path, at: int) -> None:
    changed, sentence = FIGURES[at]
    mathvista(tmp_path / "mathvista", [figure("1", **changed), choice("2")])
    said = fault(tmp_path / "mathvista")
    assert said.startswith("testmini-00000-of-00001-7256.parquet, row 1: ")
    assert sentence in said
    assert "line 1" not in said


OBJECTS: list[tuple[Any, str]] = [
    (5, "it is a number, not an object"),
    (None, "it is null, not an object"),
    ({}, "it has no column decoded_image or image"),
    (figure("1", answer=...), "it has no column answer"),
    (figure("1", choices="A B"), "its choices are one text whose parts are not clear"),
    (figure("1", precision="1"), "its columns are not those of mathvista"),
    (figure("1", precision=float("nan")), "it contains NaN, which is not valid JSON"),
    (figure("1", metadata=[1]), "its columns are not those of mathvista"),
    (figure("1", image="images/../../x.jpg"), "it is outside the dataset's folder"),
    (figure("1", image="https://example.org/x.jpg"), "it is on the network, not in a file"),
    (figure("1", image="images"), "it is no file"),
    (figure("1", image="a\0b"), "no file can have that name"),
    (figure("1", question="half \ud800"), "surrogates not allowed"),
]


@pytest.mark.parametrize("at", range(len(OBJECTS)))
def test_a_wrong_object_of_mathvista_says_what_is_wrong(tmp_path: Path, at: int) -> None:
    value, sentence = OBJECTS[at]
    (tmp_path / "x.jpg").write_bytes(picture(1))
    file = mathvista_json(tmp_path / "mathvista", [figure("1"), choice("2")])
    file.write_text(json.dumps({"1": value, "2": choice("2")}))
    said = fault(tmp_path / "mathvista")
    assert said.startswith("annot_testmini.json, row 1: ")
    assert sentence in said
    assert "line 1" not in said


@pytest.mark.parametrize("content", ["", '{"1": ', "[" * 10**6])
def test_a_broken_file_of_mathvista_says_so(tmp_path: Path, content: str) -> None:
    mathvista_json(tmp_path / "mathvista", [figure("1")]).write_text(content)
    (row,) = rows(tmp_path / "mathvista")
    assert row.fault
    assert row.fault.message.startswith("annot_testmini.json, row 1: ")


def test_a_folder_without_its_files_says_what_to_type(tmp_path: Path) -> None:
    for name, message in (("mathvista", "holds no data/testmini-"), ("vstar", "holds no test_questions")):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match=message) as caught:
            rows(tmp_path / name)
        assert (caught.value.hint or "").startswith("virc download eval ")
        assert f"--to {tmp_path / name}" in (caught.value.hint or "")


@pytest.mark.parametrize("column", ["pid", "answer", "decoded_image"])
def test_a_missing_column_is_said(tmp_path: Path, column: str) -> None:
    taken: Any = {column: ..., "image": ...}
    file = mathvista(tmp_path / "mathvista", [figure("1", **taken)])
    if column == "decoded_image":
        pq.write_table(pq.read_table(file).drop_columns([column]), file)
    (row,) = rows(tmp_path / "mathvista")
    assert row.fault
    assert f"it has no column {column}" in row.fault.message


def test_half_a_file_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    file = mathvista(tmp_path / "mathvista", [figure(str(number)) for number in range(20)])
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        rows(tmp_path / "mathvista")


def test_a_damaged_group_costs_its_rows_and_is_not_read_ahead(tmp_path: Path) -> None:
    file = mathvista(tmp_path / "mathvista", [figure(str(number)) for number in range(6)], group=2)
    group = pq.read_metadata(file).row_group(1)
    start = group.column(0).dictionary_page_offset or group.column(0).data_page_offset
    data = bytearray(file.read_bytes())
    data[start : start + 40] = bytes(40)
    found = find(str(tmp_path / "mathvista"), Path()).rows()
    first = list(islice(found, 2))
    file.write_bytes(data)  # in place: pyarrow holds the file open
    rest = list(found)
    assert [row.id for row in first if row.fault is None] == ["0", "1"]
    assert [row.id for row in rest if row.fault is None] == ["4", "5"]
    (fault,) = (row.fault for row in rest if row.fault)
    assert fault.message.startswith(f"{file.name}, row 3: rows 3 to 4 cannot be read: ")


def test_a_broken_image_is_a_fault_of_its_row(tmp_path: Path) -> None:
    whole = picture(3)
    for name, data in (("half", whole[: len(whole) // 2]), ("text", b"no image"), ("bomb", b"\x89PNG" + b"\xff" * 99)):
        mathvista(tmp_path / name / "mathvista", [figure("1", decoded_image={"bytes": data, "path": "1.jpg"})])
        found = find(str(tmp_path / name / "mathvista"), Path())
        (row,) = found.rows()
        assert row.fault is None  # it is opened when it is asked about
        with pytest.raises(DataError):
            open_source(row.images[0], found.base)


SEARCHES: list[tuple[Fields, str]] = [
    ({"label": "C", "text": "Which?\n(A) x\n(B) y"}, "its label 'C' is none of its 2 choices"),
    ({"label": ""}, "its answer, column label, is empty"),
    ({"label": "AB"}, "its label 'AB' is none of its 4 choices"),
    ({"text": ...}, "its columns are not those of vstar: 'text'"),
    ({"text": 5}, "its columns are not those of vstar"),
    ({"text": "\n(A) x\n(B) y"}, "the question is empty"),
    ({"image": 5}, "its column image is a number, not an image"),
    ({"image": "../x.jpg"}, "image ../x.jpg cannot be read: it is outside the dataset's folder"),
    ({"image": "link.jpg"}, "image link.jpg cannot be read: it is outside the dataset's folder"),
    ({"image": "direct_attributes/none.jpg"}, "cannot be read: no such file"),
    ({"image": "~/x.jpg"}, "the image ~/x.jpg has a name that begins with ~"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(SEARCHES)))
def test_a_wrong_row_of_vstar_says_what_is_wrong(tmp_path: Path, at: int) -> None:
    changed, sentence = SEARCHES[at]
    folder = tmp_path / "vstar"
    vstar(folder, [search(0, **changed), search(1)])
    (tmp_path / "x.jpg").write_bytes(picture(1))
    (folder / "link.jpg").symlink_to(tmp_path / "x.jpg")
    (folder / "~").mkdir()
    (folder / "~" / "x.jpg").write_bytes(picture(1))
    said = fault(folder)
    assert said.startswith("test_questions.jsonl, row 1: ")
    assert sentence in said
    assert "line 1" not in said


@pytest.mark.parametrize("line", ["{", "[]", '"a"', '{"image": 1e999}', "\xff", '{"a": 1, "a": 2}', "[" * 10**5])
def test_a_wrong_line_of_vstar_costs_itself(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "vstar"
    file = vstar(folder, [search(0), search(1)])
    file.write_bytes(line.encode("latin-1") + b"\n" + file.read_bytes().splitlines(keepends=True)[1])
    assert fault(folder).startswith("test_questions.jsonl, row 1: ")


def test_vstar_in_parquet_of_other_columns_says_what_is_missing(tmp_path: Path) -> None:
    file = vstar_parquet(tmp_path / "vstar", 1)
    pq.write_table(pa.table({"text": ["?"], "label": ["A"]}), file)
    (row,) = rows(tmp_path / "vstar")
    assert row.fault
    assert "it has no column image" in row.fault.message


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes")
def test_a_pipe_among_the_images_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "vstar"
    vstar(folder, [search(0), search(1)])
    image = folder / "direct_attributes" / "sa_0.jpg"
    image.unlink()
    os.mkfifo(image)
    assert "it is no file" in fault(folder)
