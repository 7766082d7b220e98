"""What each field of a layout makes of a published row: its record, field by field."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import DataError
from virc.data.rows import laid_out
from virc.data.rows.record import Record
from virc.reasoning.protocol import Protocol
from virc.systems.layouts.layout import Layout

PROBLEM = Layout("mine", question="ask", answer="say", images="pics")
TALK = Layout("mine", messages="talk", images="pics")
IN_SHARES = Protocol("", "", "", "", "", coordinates="permille")
IN_PIXELS = Protocol("", "", "", "", "", coordinates="pixel")


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "png")
    return file.getvalue()


WIDE, TALL, GONE = png(280, 140), png(140, 280), "gone.png"
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


@pytest.mark.parametrize(
    ("protocol", "box", "found"),
    [
        (None, [10, 20, 110, 120], (10, 20, 110, 120)),
        (IN_SHARES, [0, 0, 500, 999], (0, 0, 140.14, 140)),  # of the first picture, 280 x 140 px
        (IN_PIXELS, [140, 0, 280, 140], (140, 0, 280, 140)),
    ],
)
def test_boxes_lie_in_the_first_picture(protocol: Protocol | None, box: list[int], found: tuple[float, ...]) -> None:
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    first, second = record(layout, protocol, level=[[0, 0, 70, 35], box]).extra["boxes"]
    assert second == pytest.approx(found, abs=0.2)
    assert first[:2] == (0, 0) != first[2:] != second[2:]


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


@pytest.mark.parametrize(
    ("layout", "columns", "says"),
    [
(PROBLEM, {"pics": [WIDE] * 257}, "its column pics has 257 images, over 256"),
(PROBLEM, {"ask": "Is <image 2> <image 3>?"}, "it names <image 3>, and has 2 images"),
(Layout("mine", question="ask", answers="level"), {"level": [["a"]]}, "not a list of texts or numbers"),
(Layout("mine", question="ask", images="pics", boxes="level", box="size"), {"level": [[1, 2, 3, 4], [5]]},
         "its column level is a list, not a box, or a list of some, of four numbers each"),
(TALK, {"talk": "x" * (2**20 + 1)}, "its column talk is a text of over 1 MiB"),
(TALK, {"talk": [{"role": "user", "content": "a"}, {"role": "user"}]},
         "message 2 has no text: it is null or missing"),
],
)  # fmt: skip
def test_what_a_column_cannot_be_is_said_by_its_name(layout: Layout, columns: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        record(layout, **columns)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ([110, 20, 10, 120], "turned round"),
        ([10, 120, 110, 20], "turned round"),
        ([10, 20, 300, 120], "outside"),
        ([10, 20, 110, 150], "outside"),
        ([-9, 20, 110, 120], "outside"),
        ([10, 20, 110], "boxes"),
    ],
)
def test_a_box_that_cannot_be_is_a_fault(box: list[int], sentence: str) -> None:
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    for boxes in ([box, [10, 20, 30, 40]], [[10, 20, 30, 40], box]):
        with pytest.raises(DataError, match=sentence):
            record(layout, level=boxes)
