"""Boxes in other coordinates and trajectories on other images: exact where that can be, stated where not."""

import json
import random

from hypothesis import example, given
from hypothesis import strategies as st

from virc.data.convert.recode import Boxes, rewritten
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.reasoning.calls import Size, View
from virc.reasoning.messages import parse
from virc.reasoning.session import Reply, Session
from virc.tools import registry as tools

PIXEL = worked.PROTOCOL


def turn(box: str, index: int = 0, think: str = "look") -> str:
    call = f'{{"name": "crop_image", "arguments": {{"bbox_2d": {box}, "image_index": {index}}}}}'
    return f"<think>{think}</think>\n<tool_call>\n{call}\n</tool_call>"


def there_and_back(text: str, size: Size, boxes: Boxes) -> tuple[str, str]:
    pixel, permille = View([size], "pixel"), View([size], "permille")
    there = rewritten(text, pixel, permille, boxes)
    return there, rewritten(there, permille, pixel, Boxes())


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


def drawn(seed: int) -> tuple[Session, Record]:
    """A worked trajectory and its record, with its images as bytes."""
    diagram = polygons.generate(random.Random(seed))
    session = Session(PIXEL, diagram.question, [polygons.draw(diagram)], tools=tools.known())
    for text in worked.replies(polygons.solution(diagram)):
        session.feed(Reply(text))
    messages = (Message(each.role, MARK * len(each.images) + each.text) for each in session.trace().messages)
    pictures = (Picture("", data=shown.png) for shown in session.images)
    return session, Record(tuple(messages), tuple(pictures), id=seed, question=diagram.question)
