"""Boxes in other coordinates and trajectories on other images: exact where that can be, stated where not."""

import io
import json
import random
import re

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from virc.data.convert.recode import Boxes, recoded, replayed, rewritten, shown_sizes
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.reasoning.calls import Size, ToolError, View
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import Coordinates, Protocol, own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.tools import registry as tools

NAMES = ("crop_image", "scale_image", "display_image")
PIXEL = worked.PROTOCOL
PERMILLE = own_protocol(tools.schemas(NAMES, "permille"), "permille")


def turn(box: str, index: int = 0, think: str = "look") -> str:
    call = f'{{"name": "crop_image", "arguments": {{"bbox_2d": {box}, "image_index": {index}}}}}'
    return f"<think>{think}</think>\n<tool_call>\n{call}\n</tool_call>"


def there_and_back(text: str, size: Size, boxes: Boxes) -> tuple[str, str]:
    pixel, permille = View([size], "pixel"), View([size], "permille")
    there = rewritten(text, pixel, permille, boxes)
    return there, rewritten(there, permille, pixel, Boxes())


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@st.composite
def boxes_on(draw: st.DrawFn, most: int) -> tuple[Size, list[int]]:
    """A size and a box of at least 5 px a side on it, so that it holds something in thousandths of `most`."""
    size = draw(st.integers(28, most)), draw(st.integers(28, most))
    least = 1 if most <= 999 else most // 999 + 2
    left, top = (draw(st.integers(0, side - least)) for side in size)
    right, bottom = draw(st.integers(left + least, size[0])), draw(st.integers(top + least, size[1]))
    return size, [left, top, right, bottom]


def check_exact(drawn: tuple[Size, list[int]], space: str) -> None:
    size, box = drawn
    text = turn(f"[{space}{f',{space}'.join(map(str, box))}{space}]", think='the "bbox_2d": [1, 2, 3, 4]')
    counted = Boxes()
    there, back = there_and_back(text, size, counted)
    assert back == text
    assert counted == Boxes(written=1)
    read = parse(there).tool
    assert read is not None
    assert read.arguments["bbox_2d"] == [round(c * 999 / side) for c, side in zip(box, size * 2, strict=True)]


@given(boxes_on(999), st.sampled_from(["", " ", "\n  "]))
@example(((28, 222), [0, 7, 1, 8]), "")  # 31.5 thousandths, of which a division first makes less
def test_up_to_999_px_every_box_comes_back_from_permille(drawn: tuple[Size, list[int]], space: str) -> None:
    check_exact(drawn, space)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(boxes_on(999), st.sampled_from(["", " ", "\n  "]))
def test_up_to_999_px_every_box_comes_back_from_permille_at_length(drawn: tuple[Size, list[int]], space: str) -> None:
    check_exact(drawn, space)


@given(boxes_on(12_000))
def test_on_longer_sides_the_error_is_bounded_and_counted(drawn: tuple[Size, list[int]]) -> None:
    size, box = drawn
    counted = Boxes()
    _, back = there_and_back(turn(json.dumps(box)), size, counted)
    tool = parse(back).tool
    assert tool is not None
    errors = [abs(new - old) for new, old in zip(tool.arguments["bbox_2d"], box, strict=True)]
    assert all(error <= side / 1998 + 0.5 for error, side in zip(errors, size * 2, strict=True))
    assert counted == Boxes(1, int(max(errors) > 0), max(errors))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no tags", FormatError),
        (turn("[1, 2, 3]"), FormatError),
        (turn("[1, 2, 3, 4]").replace("bbox_2d", "bbox\\u005f2d"), FormatError),
        (turn("[101, 100, 102, 400]"), ToolError),
    ],
)
def test_a_box_that_cannot_be_rewritten_is_a_fault(text: str, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        there_and_back(text, (3000, 3000), Boxes())
    if "[10" in text:
        assert re.search(r"bbox_2d \[10.*\] of 3000 x 3000 is empty in 999 x 999", str(refused.value))
    if "point" in text:
        assert str(refused.value) == "the points of crop_image cannot be counted in 999 x 999: only boxes can"


def drawn(seed: int) -> tuple[Session, Record]:
    """A worked trajectory and its record, with its images as bytes."""
    diagram = polygons.generate(random.Random(seed))
    session = Session(PIXEL, diagram.question, [polygons.draw(diagram)], tools=tools.known())
    for text in worked.replies(polygons.solution(diagram)):
        session.feed(Reply(text))
    messages = (Message(each.role, MARK * len(each.images) + each.text) for each in session.trace().messages)
    pictures = (Picture("", data=shown.png) for shown in session.images)
    return session, Record(tuple(messages), tuple(pictures), id=seed, question=diagram.question)


def units(record: Record, protocol: Protocol) -> list[Unit]:
    """What a session makes of a record's replies."""
    assert record.question is not None
    inputs = [Image.open(io.BytesIO(record.images[0].data or b"")).convert("RGB")]
    session = Session(protocol, record.question, inputs, tools=tools.known())
    found = [session.feed(Reply(each.content)) for each in record.messages if each.role == "assistant"]
    assert all(isinstance(unit, Unit) for unit in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(3))
def test_a_model_of_the_other_coordinates_would_cut_the_same_boxes(seed: int) -> None:
    session, record = drawn(seed)
    counted = Boxes()
    there = recoded(record, PIXEL, PERMILLE, counted)
    assert there.messages[0].content == PERMILLE.system
    assert [each.content for each in there.messages if each.role == "user"] == [
        each.content for each in record.messages if each.role == "user"
    ]
    assert [_box(unit) for unit in units(there, PERMILLE)] == [_box(unit) for unit in session.trace().units]
    assert counted.written == len(session.images) - 1
    assert recoded(there, PERMILLE, PIXEL, Boxes()) == record


@pytest.mark.parametrize("coordinates", ["pixel", "permille"])
def test_on_square_images_the_crops_hold_the_same_part_of_the_picture(coordinates: Coordinates) -> None:
    session, record = drawn(1)
    target = msgspec.structs.replace(own_protocol(tools.schemas(NAMES, coordinates), coordinates), images="square_1000")
    assert record.question is not None
    counted = Boxes()
    there = replayed(record, record.question, PIXEL, target, counted)
    assert counted.written == len(session.images) - 1
    sizes = [Image.open(io.BytesIO(picture.data or b"")).size for picture in there.images]
    assert sizes[0] == (1000, 1000)
    assert shown_sizes(there, target) == sizes != [(1000, 1000)] * len(sizes)
    assert f"{MARK}Image 0: 1000 x 1000.\n" in there.messages[1].content
    assert len(there.messages) == len(record.messages)
    width, height = session.images[0].size
    for before, after in zip(session.trace().units, units(there, target), strict=True):
        assert before.think == after.think
        if before.call and before.call.box and after.call and after.call.box:
            scaled = [c / side * 1000 for c, side in zip(before.call.box, (width, height) * 2, strict=True)]
            assert all(abs(c - other) <= 1 for c, other in zip(after.call.box, scaled, strict=True))
    back = replayed(there, record.question, target, PIXEL, Boxes())
    assert back.images[0] == there.images[0]
    assert "Image 0: 1008 x 1008." in back.messages[1].content


def _box(unit: Unit) -> object:
    """Where a unit looks, in pixels as shown."""
    return unit.call and (unit.call.name, unit.call.index, unit.call.box)
