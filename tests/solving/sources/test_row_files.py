"""Rows as spreadsheets, data sets and programs write them: what is read from each, and what is said of the others."""

import base64
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.solving import picture

from virc.core.errors import UsageError, VircError
from virc.core.events import Event, Reporter
from virc.solving.rows import ProblemRow
from virc.solving.sources.picture_files import is_source, pictures_of
from virc.solving.sources.row_files import open_rows, rows_of

PROBLEMS = [("7", "a.png", "q"), ("8", "b.png", "r")]
ROW = {"image": "a.png", "question": "q"}


class Opened:
    """The rows of a source, what is known of them before, and what was said."""

    def __init__(self, source: object, question: str | None = None, chosen: Mapping[str, str] = {}) -> None:
        self.events: list[Event] = []
        name = source if isinstance(source, list) else str(source)
        with open_rows(name, question, chosen, Reporter(self.events.append)) as self.file:
            self.count = self.file.count()
            self.rows: list[ProblemRow] = list(self.file.rows)

    @property
    def problems(self) -> list[tuple[Any, ...]]:
        return [(row.id, *row.images, row.question) for row in self.rows]


def refused(source: object, question: str | None = None, chosen: Mapping[str, str] = {}) -> VircError:
    with pytest.raises(VircError) as caught:
        Opened(source, question, chosen)
    return caught.value


TABLES: Mapping[str, bytes] = {
    "comma": b"id,image,question\n7,a.png,q\n8,b.png,r\n",
    "semicolon": b"id;image;question\n7;a.png;q\n8;b.png;r\n",
    "byte order mark and line ends of Windows": b"\xef\xbb\xbfid,image,question\r\n7,a.png,q\r\n8,b.png,r\r\n",
    "line ends of an old Mac": b'id,image,question\r7,a.png,q\r8,b.png,"r"\r',
    "a separator for Excel": b"sep=;\r\nid;image;question\r\n7;a.png;q\r\n8;b.png;r\r\n",
    "UTF-16": "id\timage\tquestion\r\n7\ta.png\tq\r\n8\tb.png\tr\r\n".encode("utf-16"),
    "empty lines and columns": b"\nid,image,question,,\n7,a.png,q,,\n\n,,,,\n8,b.png,r,,\n\n",
    "JSON lines with a key twice, and 90 levels": b'{"id":"7","id":"7","image":"a.png","question":"q"}\n'
    b'{"id":"8","image":"b.png","question":"r","n":' + b"[" * 90 + b"]" * 90 + b"}\n",
    "JSON lines with a byte order mark, blank lines and no last line end": b'\xef\xbb\xbf{"id":"7","image":"a.png",'
    b'"question":"q"}\r\n\n  \n{"id":"8","image":"b.png","question":"r"}',
    "a JSON array": b'[{"qid":"7","img":"a.png","query":"q"},\n{"qid":"8","img":"b.png","query":"r"}]',
    "a JSON object": b'{"data":[{"id":"7","image":"a.png","question":"q"},{"id":"8","image":"b.png","question":"r"}]}',
    "JSON lines in UTF-16": "\n".join(
        json.dumps({"id": id, "image": image, "question": question}) for id, image, question in PROBLEMS
    ).encode("utf-16"),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_same_rows_are_read_however_they_are_written(name: str, clean: Path) -> None:
    (clean / "rows").write_bytes(TABLES[name])
    opened = Opened("rows")
    assert opened.problems == PROBLEMS
    assert opened.count == 2


@pytest.mark.parametrize("name", ["semicolon", "UTF-16", "a JSON array"])  # a line of a pipe is a row
def test_the_same_rows_are_read_from_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BufferedReader(io.BytesIO(TABLES[name]))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    assert Opened("-").problems == PROBLEMS


def test_one_question_is_asked_of_rows_without_any(clean: Path) -> None:
    (clean / "rows.csv").write_text("image,note\na.png,x\n")
    assert Opened("rows.csv", "What?").problems == [(1, "a.png", "What?")]
    (clean / "own.csv").write_text("image,prompt\na.png,x\n")
    assert "questions of their own, in the column 'prompt'" in refused("own.csv", "What?").message
    (clean / "named.csv").write_text("image,question\na.png,x\n")
    assert "questions of their own, in the column 'question'" in refused("named.csv", "What?").message


JPEG = base64.b64encode(b"\xff\xd8\xff" + bytes(90)).decode()


@pytest.mark.parametrize(
    ("given", "images", "question", "passed", "said"),
    [
({"img": f"{JPEG[:76]}\n{JPEG[76:]}"}, (f"data:;base64,{JPEG}",), "q", {}, "image is read from 'img'"),
({"images": ["a.png", {"bytes": None, "path": "b.png"}]}, ("a.png", "b.png"), "q", {}, ""),
({**ROW, "more": {"a": [b"x"]}, "kept": {"a": ["x"]}}, ("a.png",), "q", {"kept": {"a": ["x"]}}, ""),
(
            {**ROW, "A": "x", "B": "", "C": "z"}, ("a.png",), "q Choices: x z",
            {"A": "x", "B": "", "C": "z", "choices": ["x", "z"]}, "",
        ),
(
            {**ROW, "hint": ["look", "left"], "instruction": ["no", "text"]}, ("a.png",), "q",
            {"hint": ["look", "left"], "instruction": ["no", "text"]}, "the question is asked without hint",
        ),
],
)  # fmt: skip
def test_values_are_read_as_they_are_meant(
    given: dict[str, Any], images: tuple[str, ...], question: str, passed: dict[str, Any], said: str
) -> None:
    told: list[str] = []
    (row,) = rows_of([(9, 8, {"question": "q", **given})], say=told.append)
    assert (row.images, row.question, row.passed, row.fault) == (images, question, {"question": "q", **passed}, None)
    assert told == ([said] if said else [])


def test_a_wrong_row_of_a_table_costs_itself_alone(clean: Path) -> None:
    rows = 'image,question\na.png,one, two\n"b".png,q\n"c.png","two\nlines, ""quoted"""\nd.png,\n,q\ne.png,q\n'
    (clean / "rows.csv").write_text(rows)
    opened = Opened("rows.csv")
    faults = [row.fault.message.partition(" (")[0] if row.fault else row.question for row in opened.rows]
    assert faults == [
        "line 2: it has 3 cells, and there are 2 columns",
        "line 3: a quote within quotes is written twice",
        'two\nlines, "quoted"',
        "line 6: the question is empty",
        "line 7: it has no image",
        "q",
    ]
    assert opened.count == 6


def test_pictures_in_base64_and_in_bytes_are_pictures(clean: Path) -> None:
    """The TSV files of VLMEvalKit hold the first; Parquet files of `datasets` hold the second."""
    import pyarrow
    from pyarrow import parquet

    data = picture(clean / "a.png").read_bytes()
    text = base64.b64encode(data).decode()
    (clean / "rows.tsv").write_text(f"index\timage\tquestion\n0\t{text}\tq\n")
    table = {"image": [{"bytes": data, "path": None}], "question": ["q"], "score": [float("nan")], "raw": [b"\xff"]}
    parquet.write_table(pyarrow.table(table), clean / "rows.parquet")
    for name in ("rows.tsv", "rows.parquet"):
        opened = Opened(name)
        assert opened.rows[0].images == (f"data:;base64,{text}",)
        assert not {"image", "raw"} & opened.rows[0].passed.keys()
    assert opened.rows[0].passed["score"] is None
    parquet.write_table(pyarrow.table({"images": [table["image"] * 2], "question": ["q"]}), clean / "two.parquet")
    assert Opened("two.parquet").rows[0].images == (f"data:;base64,{text}",) * 2


def test_an_image_may_be_the_index_of_another_row_and_several_stand_in_a_cell(clean: Path) -> None:
    """As `ImageBaseDataset` of VLMEvalKit reads its TSV files."""
    first, second = (base64.b64encode(picture(clean / "a.png", side).read_bytes()).decode() for side in (64, 96))
    cells = {"1": "2000001", "2": "3", "3": first, "8": "8", "4": f'["{second}", "{first}"]', "2000001": second}
    (clean / "rows.tsv").write_text(
        "index\timage\tquestion\n" + "".join(f"{index}\t{cell}\tq\n" for index, cell in cells.items())
    )
    one, two = f"data:;base64,{first}", f"data:;base64,{second}"
    found = {row.id: row.images for row in Opened("rows.tsv").rows}
    assert found == {"1": (two,), "2": (one,), "3": (one,), "8": ("8",), "4": (two, one), "2000001": (two,)}


def test_pictures_are_those_of_words_folders_and_patterns(clean: Path) -> None:
    for name in ("charts/b.png", "charts/a.JPG", "charts/in/c.webp", "x.png"):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        picture(clean / "x.png").replace(clean / name)
    (clean / "charts" / "notes.txt").write_text("x")
    (clean / "charts" / ".hidden.png").write_text("x")
    picture(clean / "x.png")
    for source, found in (
        ("charts", ["charts/a.JPG", "charts/b.png"]),
        ("charts/*.png", ["charts/b.png"]),
        ("charts/**/*.*", ["charts/a.JPG", "charts/b.png", "charts/in/c.webp"]),
        (["x.png", "charts", "x.png"], ["x.png", "charts/a.JPG", "charts/b.png"]),
    ):
        opened = Opened(source, "What?")
        assert opened.problems == [(name, name, "What?") for name in found]
        assert opened.count == len(found)
    assert opened.events[-1].text == (
        "charts has 2 pictures; left out: 1 folder (in), 1 hidden file (.hidden.png), 1 other file (notes.txt)"
    )
    assert all(isinstance(refused("charts", question), UsageError) for question in (None, " "))
    assert refused("charts/*.gif", "What?").message == "no file matches charts/*.gif"
    (clean / "empty" / "in").mkdir(parents=True)
    for hint in ("virc batch empty/in 'QUESTION'", "virc batch empty/Rows.CSV"):
        told = refused("empty", "What?")
        assert (told.message, told.hint) == ("the folder empty has no pictures", hint)
        (clean / "empty" / "Rows.CSV").write_text("image,question\n")
    (clean / "x.png").write_text("image,question\na.png,q\n")  # whatever it is called
    assert [is_source("empty"), is_source("gone"), pictures_of(["x.png"], Reporter())] == [True, False, None]
    assert pictures_of(["empty/*.CSV"], Reporter()) is None


FOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "a.jfif": ("JPEG", {}), "b.PNG_large": ("PNG", {}), "c": ("WEBP", {}), "d.dat": ("AVIF", {}),
    "e.dib": ("BMP", {}), "f.pnm": ("PPM", {}), "g.webp~": ("GIF", {}), "h.fax": ("TIFF", {}), "i.mpo": ("MPO", {}),
}  # fmt: skip
LEFT = {
    "clip.mp4": b"\0\0\0\x20ftypisom", "clip.webm": b"\x1aE\xdf\xa3", "report.pdf": b"%PDF-1.7",
    "rows.csv": b"image", "BMW.txt": b"BMW, a list of cars", "P1.txt": b"P1: the first problem", "w.ico": b"\0\0\1\0",
}  # fmt: skip


def test_files_of_a_folder_are_known_by_content(clean: Path) -> None:
    (clean / "charts").mkdir()
    for name, (kind, options) in FOUND.items():
        Image.new("RGB", (64, 48)).save(clean / "charts" / name, kind, **options)
    (clean / "charts" / "empty.png").touch()  # an error of its own row
    for name, content in LEFT.items():
        (clean / "charts" / name).write_bytes(content)
    (clean / "charts" / "gone.png").symlink_to("nowhere")
    os.mkfifo(clean / "charts" / "pipe.png")
    opened = Opened("charts", "What?")
    assert [problem[0] for problem in opened.problems] == [f"charts/{name}" for name in sorted([*FOUND, "empty.png"])]
    assert opened.events[-1].text == (
        "charts has 10 pictures; left out: 1 PDF (report.pdf), 1 file of rows (rows.csv), "
        "3 other files (BMW.txt, P1.txt, w.ico), 1 special file (pipe.png), 1 unreadable file (gone.png), "
        "2 videos (clip.mp4, clip.webm)"
    )


def test_rows_of_usual_names_have_the_digest_they_had(clean: Path) -> None:
    """A file of answers that was begun before is continued."""
    from virc.solving.rows import as_row

    rows: list[dict[str, Any]] = [
        {"id": 1, **ROW, "answer": "3", "level": {"n": [1]}},
        {"id": "b", "images": ["a.png", "b.png"], "image": None, "question": "q", "choices": [1, "x"]},
        {"id": "c", "images": [], "question": "q"},
    ]
    (clean / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert Opened("rows.jsonl").rows == [as_row(number, row) for number, row in enumerate(rows, 1)]


def test_a_field_of_a_request_is_left_out_by_its_name(tmp_path: Path) -> None:
    message = {"role": "user", "content": "How many?", "reasoning_content": "I look."}
    (tmp_path / "asked.jsonl").write_text(json.dumps({"custom_id": "a", "body": {"messages": [message]}}))
    faults = []
    for ignored in ((), ("reasoning_content",)):
        with open_rows(str(tmp_path / "asked.jsonl"), ignored=ignored) as rows:
            (row,) = rows.rows
            faults.append(row.fault and (row.fault.message, row.fault.hint))
    said = "line 1: nothing reads reasoning_content of its messages"
    assert faults == [(said, "--ignore reasoning_content leaves it out"), None]
