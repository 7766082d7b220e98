"""Rows as they stand in files that others made, and files that are broken or hostile."""

import io
import json
import tarfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
from PIL import ExifTags, Image
from support.called import virc
from support.tables import each_case

from virc.core.errors import DataError, UnreadError
from virc.core.json_stream import MAX_ROW_BYTES
from virc.data.rows import raw
from virc.data.rows.laid_out import record_of
from virc.solving.sources.row_files import open_rows
from virc.systems.layouts.layout import Layout


def shard(folder: Path, **files: bytes) -> Path:
    path = folder / "a.tar"
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


FILES: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("a.json", '[{"a": 1}]', [{"a": 1}]),
    ("a.json", '{"n": 1, "rows": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"n": 1, "rows": [{"a": 1}, {"a": 2}]}\n', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"x": {"a": 1}, "y": {"a": 2}}', [{"key": "x", "a": 1}, {"key": "y", "a": 2}]),
    ("a.json", '{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"images": [{"a": 1}], "file_name": "x"}', [{"a": 1}]),
    ("a.ndjson", '{"a": 1}\n', [{"a": 1}]),
    ("a.csv", "a,b\n1,x\n", [{"a": "1", "b": "x"}]),
    ("a.tsv", "a\tb\n1\tx\n", [{"a": "1", "b": "x"}]),
]


@pytest.mark.parametrize(("name", "text", "rows"), FILES)
def test_the_rows_of_a_file(name: str, text: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert list(raw.rows(tmp_path / name)) == list(enumerate(rows, 1))
    assert list(raw.rows(tmp_path / name, 2)) == list(enumerate(rows, 1))[1:]


ONE, OTHER = '{"image": "a", "question": "q"}', '{"image": "b", "question": "r"}'


@each_case(
    ("name", "text"),
    [
        ("a.json", f"[{ONE}, {OTHER}]"),
        ("a.jsonl", f"[{ONE},\n{OTHER}]"),
        ("a.json", f"{ONE}\n{OTHER}\n"),
        ("a.json", f'{{"n": 1, "rows": [{ONE}, {OTHER}]}}'),
        ("a.json", f'{{"n": 1,\n"rows": [{ONE}, {OTHER}]}}'),
        ("a.json", f'{{"x": {ONE}, "y": {OTHER}}}'),
        ("a.json", ONE),
        ("a.jsonl", f"{ONE}\n\n{{\n{OTHER}"),
        ("a.jsonl", f"[1]\n{ONE}"),
        ("a.csv", "image,question\na,q\nb,r\n"),
        ("a.csv", "image;question\ra;q\rb;r\r"),
        ("a.tsv", "image\tquestion\na\tq\nb\tr\n"),
    ],
)
def test_batch_and_data_read_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    with open_rows(str(tmp_path / name)) as opened:
        assert opened.again
        of_batch = [fields for _, _, fields in opened.again()]
    of_data = [fields for _, fields in raw.rows(tmp_path / name)]
    assert list(map(str, of_batch)) == list(map(str, of_data))
    assert any(isinstance(fields, dict) and fields["question"] == "q" for fields in of_data)


@pytest.mark.parametrize(
    "files",
    [
        {"a_json": b"{"},
        {"a_json": b"[" * 100_000},
        {"a_txt": b"x" * (MAX_ROW_BYTES // 2 + 1), "a_cls": b"x" * (MAX_ROW_BYTES // 2 + 1)},
    ],
)
def test_a_broken_sample_ends_a_shard_with_a_fault(files: dict[str, bytes], tmp_path: Path) -> None:
    *first, (number, fault) = raw.rows(shard(tmp_path, **{"0_txt": b"1", "1_txt": b"2", **files}))
    assert first == [(at + 1, {"key": str(at), "txt": str(at + 1)}) for at in range(2)]
    assert (number, type(fault)) == (3, UnreadError)
    assert isinstance(fault, UnreadError)
    assert fault.message.startswith(f"row 3: {tmp_path / 'a.tar'} cannot be read: ")


def test_members_of_a_shard_that_are_no_text_are_bytes_and_names_without_a_dot_are_skipped(tmp_path: Path) -> None:
    """As webdataset 1.0.2 (`base_plus_ext`) and datasets 5.2.0 read shards."""
    path = shard(
        tmp_path,
        **{"README": b"abc", "a_npy": b"\x93NUMPY", "a_txt": b"q", "dir/_x": b"h", "b_txt": b"r", "b_JSN": b'{"n": 1}'},
    )
    rows = [{"key": "a", "npy": b"\x93NUMPY", "txt": "q"}, {"key": "b", "txt": "r", "n": 1}]
    assert list(raw.rows(path)) == list(enumerate(rows, 1))


def arrow_table() -> pyarrow.Table:
    """A column of each type that a reader has to know; JSON as datasets 5.2.0 writes columns of several types.

    It quotes text and writes `/` as `\\/`, but for text that is JSON by itself.
    """
    as_json = pyarrow.array(['"B"', '"x\\/y"', "[1, 2]", None, "7"], pyarrow.string()).cast(pyarrow.json_())
    parts = pyarrow.array(['[{"type":"text","text":"a\\/b"}]', '"hi"'], pyarrow.string()).cast(pyarrow.json_())
    message = pyarrow.StructArray.from_arrays([pyarrow.array(["user", "assistant"]), parts], names=["role", "content"])
    words = pyarrow.array(["x", "yy"], pyarrow.string_view())
    return pyarrow.table(
        {
            "answer": as_json,
            "messages": pyarrow.ListArray.from_arrays([0, 2, 2, 2, 2, 2], message),
            "view": pyarrow.array(["a", "b" * 40, None, "", "c"], pyarrow.string_view()),
            "named": pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, None, 1, 0]), words),
            # as DuckDB 2.0.1 and Spark write maps; pyarrow 26.0.1 has no `flatten` of one
            "scores": pyarrow.MapArray.from_arrays([0, 2, 2, 3, 3, 3], ["a", "b", "a"], as_json.take([0, 4, 2])),
            # of DuckDB 2.0.1, where 1.5 is a decimal
            "sides": pyarrow.array([[Decimal("1.50")], None, [], [], []], pyarrow.list_(pyarrow.decimal128(3, 2))),
            "day": pyarrow.array([date(2024, 5, 1), None, None, None, None]),
            "counted": pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 0, 1, 0]), pyarrow.array([5, 6])),
        }
    )


MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "a/b"}]}, {"role": "assistant", "content": "hi"}]
IN_ARROW = [
    {
        "answer": "B",
        "messages": MESSAGES,
        "view": "a",
        "named": "x",
        "counted": 5,
        "scores": {"a": "B", "b": 7},
        "sides": [1.5],
        "day": "2024-05-01",
    },
    {
        "answer": "x/y",
        "messages": [],
        "view": "b" * 40,
        "named": "yy",
        "counted": 6,
        "scores": {},
        "sides": None,
        "day": None,
    },
    {
        "answer": [1, 2],
        "messages": [],
        "view": None,
        "named": None,
        "counted": 5,
        "scores": {"a": [1, 2]},
        "sides": [],
        "day": None,
    },
    {"answer": None, "messages": [], "view": "", "named": "yy", "counted": 6, "scores": {}, "sides": [], "day": None},
    {"answer": 7, "messages": [], "view": "c", "named": "x", "counted": 5, "scores": {}, "sides": [], "day": None},
]


@each_case("form", ["stream", "file", "parquet", "feather"])
def test_arrow_tables_of_every_form(tmp_path: Path, form: str) -> None:
    """Streams, files with a directory (`new_file`, polars' `write_ipc`), parquet and Feather 2, of pyarrow 26.0.1."""
    table, path = arrow_table(), tmp_path / f"a.{form if form in ('parquet', 'feather') else 'arrow'}"
    if form == "parquet":  # has no dictionaries of views
        table = table.set_column(3, "named", [["x", "yy", None, "yy", "x"]])
        pyarrow.parquet.write_table(table, path)
    else:
        opened = pyarrow.ipc.new_stream if form == "stream" else pyarrow.ipc.new_file
        with opened(path, table.schema) as out:
            out.write_table(table)
    assert list(raw.rows(path)) == list(enumerate(IN_ARROW, 1))


def test_runs_in_arrow_are_read_and_unions_are_named(tmp_path: Path) -> None:
    """Of pyarrow 26.0.1, which has no `flatten` of either, and writes neither to parquet."""
    texts, lists = pyarrow.array(['"B"', '"x"'], pyarrow.string()).cast(pyarrow.json_()), pyarrow.array([["a"], []])
    ends = pyarrow.array([2, 3], pyarrow.int32())
    runs = {
        "answer": pyarrow.RunEndEncodedArray.from_arrays(ends, texts),
        "names": pyarrow.RunEndEncodedArray.from_arrays(ends, lists),
    }
    kinds = pyarrow.array([0, 1, 0], pyarrow.int8())
    several = pyarrow.UnionArray.from_sparse(kinds, [pyarrow.array(["B", "", "C"]), pyarrow.array([0, 3, 0])])
    for name, table in (("runs", pyarrow.table(runs)), ("union", pyarrow.table({"answer": several}))):
        with pyarrow.ipc.new_stream(tmp_path / f"{name}.arrow", table.schema) as out:
            out.write_table(table)
    one, last = {"answer": "B", "names": ["a"]}, {"answer": "x", "names": []}
    assert list(raw.rows(tmp_path / "runs.arrow")) == [(1, one), (2, one), (3, last)]
    said = [str(row) for _, row in raw.rows(tmp_path / "union.arrow")]
    assert (
        said
        == ["it has values of several types (sparse_union<0: string=0, 1: int64=1>): write them as texts, or as JSON"]
        * 3
    )


@each_case("name", ["a.parquet", "a.arrow"])
def test_numbers_of_few_bits_have_the_digits_that_were_meant(name: str, tmp_path: Path) -> None:
    """Columns of `Value("float32")` and `Value("float16")` of datasets 5.2.0, which shows 0.10000000149011612."""
    numbers, largest = [0.1, 3.14, 1 / 3, 16777217.0, float("inf"), None], 3.4028234663852886e38
    table = pyarrow.table({
        "answer": pyarrow.array(numbers, pyarrow.float32()), "half": pyarrow.array([0.1] * 6, pyarrow.float16()),
        "box": pyarrow.array([[0.7, largest]] * 6, pyarrow.list_(pyarrow.float32())),
    })  # fmt: skip
    if name == "a.parquet":
        pyarrow.parquet.write_table(table, tmp_path / name)
    else:
        pyarrow.feather.write_feather(table, tmp_path / name, compression="uncompressed")
    rows = [row for _, row in raw.rows(tmp_path / name) if isinstance(row, dict)]
    assert [row["answer"] for row in rows] == [0.1, 3.14, 0.33333334, 16777216.0, float("inf"), None]
    assert (rows[0]["half"], rows[0]["box"]) == (0.1, [0.7, 3.4028235e38])


ASKED = {"id": "1", "image": "a.PNG", "question": "Why?", "answer": "B"}
SEPARATED = [sign.join(each) + "\n" for sign in ",\t" for each in (ASKED, ASKED.values())]


@each_case(
    ("name", "text"),
    [
        ("rows.JSONL", json.dumps(ASKED)), ("rows.Json", json.dumps([ASKED])), ("rows.NDJSON", json.dumps(ASKED)),
        ("rows.CSV", "".join(SEPARATED[:2])), ("rows.TSV", "".join(SEPARATED[2:])),
        ("rows.PARQUET", ""), ("rows.ARROW", ""),
    ],
)  # fmt: skip
def test_endings_may_be_in_capitals(name: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip("virc_extras")  # layouts of tables
    Image.new("RGB", (56, 56)).save(tmp_path / "a.PNG")
    (tmp_path / name).write_text(text)
    table = pyarrow.table({key: [value] for key, value in ASKED.items()})
    if name == "rows.PARQUET":
        pyarrow.parquet.write_table(table, tmp_path / name)
    if name == "rows.ARROW":
        pyarrow.feather.write_feather(table, tmp_path / name, compression="uncompressed")
    for place in (tmp_path / name, tmp_path):
        assert "1 row, 1 good" in virc("data", "check", place).out, place


def members_of(folder: Path, *names: str) -> Path:
    """A shard whose files hold their place, as text; of JSON as a key of its own."""
    path = folder / "a.tar"
    with tarfile.open(path, "w") as out:
        for at, name in enumerate(names):
            data = b'{"n": %d}' % at if name.endswith(".json") else b"%d" % at
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


@each_case(("names", "rows"), [
    (["a.jpg", "a.json", "b.jpg", "b.json"], [("a", b"0", 1), ("b", b"2", 3)]),
    (["a.jpg", "b.jpg", "a.json", "b.json"], [("a", b"0", 2), ("b", b"1", 3)]),
    (["a.json", "b.json", "b.jpg", "a.jpg"], [("a", b"3", 0), ("b", b"2", 1)]),
    (["a.jpg", "a.json", "a.jpg", "a.json"], [("a", b"0", 1), ("a", b"2", 3)]),
    (["a.JPG", "a.json", "b.jpg", "a.jpg", "a.json", "b.json"], [("a", b"0", 1), ("b", b"2", 5), ("a", b"3", 4)]),
    (["x/a.jpg", "y/a.jpg", "x/a.json", "y/a.json"], [("x/a", b"0", 2), ("y/a", b"1", 3)]),
    (["a.jpg", "a.json", ".hidden.jpg", "a.jpg", "b.jpg", "b.json", "a.json"], [("a", b"0", 1), ("a", b"3", 6),
                                                                             ("b", b"4", 5)]),
    (["a.jpg", "a.jpg", "a.json", "a.json", "b.jpg"], ["are called a", "are called a", "are called a", ("b", b"4")]),
    (["a.jpg", "a.json", "a.jpg", "b.jpg"], ["are called a", "are called a", ("b", b"3")]),
])  # fmt: skip
def test_files_of_a_sample_are_gathered_and_names_may_come_twice(
    names: list[str], rows: list[Any], tmp_path: Path
) -> None:
    found = [*raw.rows(members_of(tmp_path, *names))]
    assert [number for number, _ in found] == [*range(1, len(rows) + 1)]
    for (_, fields), row in zip(found, rows, strict=True):
        if isinstance(row, str):
            assert row in str(fields)
        else:
            assert fields == dict(zip(("key", "jpg", "n"), row, strict=False))


@each_case(("names", "images"), [
    (["a.10.jpg", "a.2.jpg", "a.1.jpg", "a.json"], [b"2", b"1", b"0"]), (["a.json", "a.img0.png"], [b"1"]),
    (["a.img_1.png", "a.img_0.jpg", "a.json"], [b"1", b"0"]), (["a.l1.png", "a.r2.png", "a.json"], []),
])  # fmt: skip
def test_numbered_pictures_of_a_sample_are_in_order(names: list[str], images: list[bytes], tmp_path: Path) -> None:
    ((_, fields),) = raw.rows(members_of(tmp_path, *names))
    expected = {"images": images} if images else {"l1.png": b"0", "r2.png": b"1"}
    assert fields == {"key": "a", "n": names.index("a.json"), **expected}
    ((_, fields),) = raw.rows(shard(tmp_path, a_1_png=b"1", a_2_png=b"2", a_json=b'{"images": ["2.png", "1.png"]}'))
    assert fields == {"key": "a", "images": [b"2", b"1"]}


def test_a_picture_without_bytes_and_path_is_none(tmp_path: Path) -> None:
    empty, layout = {"bytes": b"", "path": None}, Layout("of pictures", question="q", images="image")
    for picture, count in ((empty, 0), ([empty, empty], 0), ({"bytes": b"x", "path": ""}, 1)):
        assert len(record_of({"q": "?", "image": picture}, layout, tmp_path, None).images) == count


def test_a_shard_that_is_cut_gives_the_samples_before(tmp_path: Path) -> None:
    path = members_of(tmp_path, "a.jpg", "a.json", "b.jpg", "b.json")
    path.write_bytes(path.read_bytes()[: 5 * 512])
    *rows, (number, fault) = raw.rows(path)
    assert [(at, fields) for at, fields in rows] == [(1, {"key": "a", "jpg": b"0", "n": 1})]
    assert (number, type(fault)) == (2, UnreadError)


CLASSES = {
    "answer": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "n": {"_type": "Value", "dtype": "int64"},
    "tags": {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["a", "b"]}},
    "inner": {"kind": {"_type": "ClassLabel", "names": ["x", "y"]}},
    "old": [{"_type": "ClassLabel", "names": ["a", "b"]}],
    "parts": {"_type": "Sequence", "feature": {"kind": {"_type": "ClassLabel", "names": ["x", "y"]}}},
}  # fmt: skip
NUMBERS = [
    {"answer": 1, "n": 1, "tags": [1, 0], "inner": {"kind": 0}, "old": [1], "parts": {"kind": [1, 0]}},
    {"answer": -1, "n": 0, "tags": [], "inner": None, "old": None, "parts": None},
]  # fmt: skip
NAMES = [
    {"answer": "dog", "n": 1, "tags": ["b", "a"], "inner": {"kind": "x"}, "old": ["b"], "parts": {"kind": ["y", "x"]}},
    {"answer": None, "n": 0, "tags": [], "inner": None, "old": None, "parts": None},
]  # fmt: skip


@each_case("name", ["a.parquet", "stream.arrow", "file.arrow"])
def test_classes_of_datasets_have_their_names_in_each_form_of_arrow(name: str, tmp_path: Path) -> None:
    about = {"huggingface": json.dumps({"info": {"features": CLASSES}})}
    table = pyarrow.Table.from_pylist(NUMBERS).replace_schema_metadata(about)
    if name == "a.parquet":
        pyarrow.parquet.write_table(table, tmp_path / name)
    else:
        make = pyarrow.ipc.new_file if name == "file.arrow" else pyarrow.ipc.new_stream
        with make(tmp_path / name, table.schema) as out:
            out.write_table(table)
    assert [*raw.rows(tmp_path / name)] == [*enumerate(NAMES, 1)]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


@each_case("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.tar", "a.arrow"])
def test_a_pointer_of_git_lfs_is_named_in_place_of_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    for words in (("data", "check", tmp_path / name), ("batch", tmp_path / name, "--to", tmp_path / "to.csv")):
        done = virc(*words)
        assert (done.code, f"{name} is a pointer of Git LFS, not the rows\nhint: git lfs pull" in done.err) == (5, True)


SIZES: dict[str, tuple[int, int, int, bool]] = {  # EXIF's orientation, width and height by COCO, whether they fit
    "as it lies": (1, 40, 30, True), "turned, and said so": (6, 30, 40, True), "turned": (6, 40, 30, False),
    "upside down": (3, 40, 30, True), "made smaller later": (1, 80, 60, False), "of another": (1, 41, 30, False),
}  # fmt: skip


@each_case("name", SIZES)
def test_boxes_of_a_picture_of_another_size_are_faults(name: str, tmp_path: Path) -> None:
    orientation, width, height, fits = SIZES[name]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9]}]
    image = {"id": 1, "file_name": "a.jpg", "width": width, "height": height}
    content = {"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    fields = {"about": "x", "question": "question", "images": "file_name", "boxes": "bbox_xywh", "box": "size"}
    layout = msgspec.convert(fields, Layout)
    ((_, row),) = raw.rows(tmp_path / "a.json")
    assert isinstance(row, dict)
    told = ""
    try:
        record_of(row, layout, tmp_path, None)
    except DataError as error:
        told = error.message
    assert (f"its boxes count in {width} x {height} px, and its picture has " in told) == (not fits), told
    ignoring = msgspec.structs.replace(layout, ignore=("width", "height"))
    assert record_of(row, ignoring, tmp_path, None).extra["boxes"] == [(1, 2, 10, 11)]


def test_boxes_of_coco_are_one_row_for_each_category(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": at % 2, "bbox": [at, 0, 1, 1]} for at in range(3)]
    content = {
        "images": [{"id": at, "file_name": f"{at}.jpg"} for at in (7, 8, 9)],
        "annotations": [
            *boxes, {"image_id": 9, "caption": "A dog."}, {"image_id": 9, "category_id": 5, "bbox": [9, 0, 1, 1]},
            {"image_id": 9, "caption": "A big dog."}, {"image_id": 9, "category_id": 1},
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    rows = [*raw.rows(tmp_path / "a.json")]
    assert [number for number, _ in rows] == [1, 2, 3, 4]
    assert [*map(str, raw.rows(tmp_path / "a.json", 3))] == [*map(str, rows[2:])]
    left = "row 4: nothing reads annotations without a category in it (1), annotations without a box (1)"
    assert str(rows[3][1]) == left
    marked = [row for _, row in rows[:2] if isinstance(row, dict)]
    assert [(row["image_id"], row["file_name"], row["category"], row["bbox_xywh"]) for row in marked] == [
        (7, "7.jpg", "cat", [[0, 0, 1, 1], [2, 0, 1, 1]]), (7, "7.jpg", "dog", [[1, 0, 1, 1]]),
    ]  # fmt: skip
    assert [row["question"] for row in marked] == [f"Where is each {name}?" for name in ("cat", "dog")]
    asked = {"question": "What does the picture show?", "answers": ["A dog.", "A big dog."]}
    assert rows[2][1] == {"image_id": 9, "file_name": "9.jpg", **asked}
