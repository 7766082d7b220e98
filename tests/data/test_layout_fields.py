"""What each field of a layout makes of a published row: its record, field by field."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from pyarrow import parquet
from support.called import virc
from support.row_files import lines, saved

from virc.core.errors import DataError
from virc.data.rows import laid_out
from virc.data.rows.laid_out import record_of
from virc.data.rows.record import Record
from virc.reasoning.protocol import Protocol
from virc.systems.layouts.layout import Layout

PROBLEM = Layout("mine", question="ask", answer="say", images="pics")
IN_SHARES = Protocol("", "", "", "", "", coordinates="permille")


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "png")
    return file.getvalue()


WIDE, TALL = png(280, 140), png(140, 280)
ROW: dict[str, Any] = {"ask": "Which?", "say": " 7 \n", "pics": [WIDE, TALL], "level": 3, "raw": b"x"}


def record(layout: Layout, protocol: Protocol | None = None, **columns: Any) -> Record:
    return laid_out.record_of(ROW | columns, layout, Path(), protocol)


@pytest.mark.parametrize(
    ("layout", "columns", "field", "value"),
    [
(PROBLEM, {}, "question", "Which?"),
(PROBLEM, {"say": ["7"]}, "answer", "7"),
(PROBLEM, {"say": "So it is \\boxed{\\frac{7}{2}}."}, "answer", "\\frac{7}{2}"),
(PROBLEM, {"ask": "<image><image> Which?"}, "question", "Which?"),
(Layout("mine", question="ask", answer="say", choices="level", index_from=0), {"level": None}, "answer", "7"),
(PROBLEM, {"ask": "<image><image>Which?\n"}, "question", "Which?"),
(Layout("mine", question="ask", answer="level", answers="say"), {"say": ["a", "3", "a"]}, "extra",
         {"answers": ["3", "a", "a"], "pics": []}),
(Layout("mine", question="ask", choices="level"), {"level": {"A": "one", "B": 2}}, "extra",
         {"choices": ["one", "2"], "say": " 7 \n", "pics": []}),
],
)  # fmt: skip
def test_a_column_becomes_a_field(layout: Layout, columns: dict[str, Any], field: str, value: object) -> None:
    assert getattr(record(layout, **columns), field) == value


def test_boxes_in_pixels_as_shown_are_scaled_to_the_file() -> None:
    large = png(2800, 1400)
    seen = Protocol("", "", "", "", "", coordinates="pixel", input_pixels=(28 * 28 * 4, 280 * 140))
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    (box,) = record(layout, seen, pics=[large, TALL], level=[[28, 14, 140, 70]]).extra["boxes"]
    assert box == pytest.approx((280, 140, 1400, 700), rel=0.1)
    # a box that was rounded may be off by one of its units
    (box,) = record(layout, IN_SHARES, pics=[large], level=[[0, 0, 1000, 500]]).extra["boxes"]
    assert box == pytest.approx((0, 0, 2800, 700), abs=3)
    assert record(layout, level="(10, 20), (110, 120)").extra["boxes"] == [(10, 20, 110, 120)]


CHOSEN: dict[str, Any] = {
    "q": "Which?",
    "i": "a.png",
    "c": ["red", "green", "blue"],
    "A": "x",
    "B": "",
    "C": "z",
    "n": 7,
    "j": '{"k": [1]}',
    "hint": "nan",
    "hints": ["a", "b"],
    "void": [],
}


def read(folder: Path, row: dict[str, Any], **fields: Any) -> Any:
    saved(folder, "a.png", 0)
    layout = msgspec.convert({"about": "mine", "question": "q", "images": "i", **fields}, Layout)
    return record_of(CHOSEN | row, layout, folder, None)


@pytest.mark.parametrize(
    ("first", "answer", "text"), [(0, 1, "green"), (1, 1, "red"), (1, "3", "blue"), (0, 3, None), (1, 0, None)]
)
def test_the_number_of_a_choice_counts_from_where_it_says(
    first: int, answer: Any, text: str | None, tmp_path: Path
) -> None:
    if text is None:
        with pytest.raises(DataError, match=f"its answer {answer} is no number of its 3 choices, from {first}"):
            read(tmp_path, {"a": answer}, answer="a", choices="c", index_from=first)
    else:
        assert read(tmp_path, {"a": answer}, answer="a", choices="c", index_from=first).answer == text


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ({"columns": ["A", "C", "B"]}, ["x", "z"]),
        ({"columns": ["A", "C", "hint", "none"]}, ["x", "z"]),
        ({"columns": ["A", "B", "C"]}, None),
        ("letters", ["x", "y", "z"]),
        ("texts", ["x", "z"]),
        ("gap", None),
    ],
)
def test_choices_keep_their_letters(choices: Any, found: list[str] | None, tmp_path: Path) -> None:
    more = {"letters": {"C": "z", "A": "x", "B": "y", "D": None}, "texts": ["x", "z", ""], "gap": {"A": "x", "C": "z"}}
    if found is None:
        with pytest.raises(DataError, match="is empty, with choices after it"):
            read(tmp_path, more, choices=choices)
    else:
        assert read(tmp_path, more, choices=choices).extra["choices"] == found


@pytest.mark.parametrize(
    ("answers", "answer", "kept"),
    [
        (["a", "b"], "a", ["a", "b"]),
        ([{"answer": "b"}, {"answer": "b"}, {"answer": "a"}], "b", ["b", "b", "a"]),
        (["a"], "a", None),
        ("['a', 'b']", "a", ["a", "b"]),
    ],
)
def test_several_answers_are_each_accepted(answers: Any, answer: str, kept: Any, tmp_path: Path) -> None:
    record = read(tmp_path, {"a": answers}, answers="a")
    assert (record.answer, record.extra.get("answers")) == (answer, kept)


@pytest.mark.parametrize(("units", "box"), [("", [40, 30, 80, 75]), ("coordinates: original\n", [100, 100, 200, 250])])
def test_boxes_of_a_given_layout_are_counted_as_it_says_or_as_the_system_does(
    units: str, box: list[float], tmp_path: Path
) -> None:
    """Thousandths of the sides, of a picture of 400 x 300 px, by the chat protocol of qwen3-vl."""
    Image.new("RGB", (400, 300), "white").save(tmp_path / "0.png")
    row = {"question": "Where?", "answer": "left", "image": "0.png", "box": [100, 100, 200, 250]}
    file = lines(tmp_path / "rows.jsonl", [row])
    layout = "about: mine\nquestion: question\nanswer: answer\nimages: image\nboxes: box\nbox: corners\n"
    (tmp_path / "mine.yaml").write_text(layout + units)
    words = ("--layout", tmp_path / "mine.yaml", "--system", "qwen3-vl", "--format", "rl", "--to", tmp_path / "made")
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done
    (made,) = parquet.read_table(tmp_path / "made" / "rows.parquet").to_pylist()
    assert json.loads(made["extra_info"]["extra"])["boxes"] == [box]
