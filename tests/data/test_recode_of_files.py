"""Rows with the images as they were shown and the sizes of their files: calls of further crops mean the same pixels."""

import io
from typing import Any

import msgspec
import pytest
from PIL import Image

from virc.data.check.result import Rules
from virc.data.check.row import check_row
from virc.data.convert.recode import Boxes, recoded, replayed, reworded
from virc.data.formats.registry import Row
from virc.data.rows.record import Message, Picture, Record, content_of
from virc.reasoning.calls import Box
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.tools.registry import DEFAULT, known, schemas

Turns = tuple[tuple[list[Any], int], ...]
FILE = (1400, 980)
FAR: dict[str, Any] = {"crops": "file", "input_pixels": (3136, 54_880), "crop_pixels": (3136, 50_176)}
REPLIES: Turns = ([70, 49, 140, 98], 0), ([28, 28, 113, 85], 1), ([4, 3, 60, 41], 2)


def spoken(coordinates: Any = "pixel", **more: Any) -> Protocol:
    return msgspec.structs.replace(own_protocol(schemas(DEFAULT, coordinates), coordinates), **FAR | more)


def look(box: list[Any], index: int) -> str:
    call = f'{{"name": "crop_image", "arguments": {{"bbox_2d": {box}, "image_index": {index}}}}}'
    return f"<think>look</think>\n<tool_call>\n{call}\n</tool_call>"


def row_of(session: Session) -> Record:
    messages = tuple(Message(each.role, content_of(each)) for each in session.trace().messages)
    images = tuple(Picture("", data=each.png) for each in session.images)
    return Record(messages, images, "one", "Where?", "5", extra={"file_sizes": [[*FILE]]})


def rolled(protocol: Protocol, replies: Turns = REPLIES) -> Session:
    """A solution whose every crop is of the one before, cut from a large file."""
    session = Session(protocol, "Where?", [Image.effect_noise(FILE, 60).convert("RGB")], tolerate=(), tools=known())
    for box, index in replies:
        assert isinstance(session.feed(Reply(look(box, index))), Unit)
    assert isinstance(session.feed(Reply("<think>so</think>\n<answer>5</answer>")), Unit)
    return session


def cut_out(record: Record, protocol: Protocol) -> list[Box | None]:
    """What of the file every crop of a row shows, where the file is there."""
    replies = [each.content for each in record.messages if each.role == "assistant"]
    session = Session(protocol, "Where?", [Image.new("RGB", FILE)], tools=known())
    for each in replies:
        assert isinstance(session.feed(Reply(each)), Unit)
    return [each.region for each in session.trace().images[1:]]


TURNED: dict[str, Any] = {"first": "{images}\nLook: {question}"}


@pytest.mark.parametrize("more", [{}, {"coordinates": "original"}], ids=["pixel", "original"])
def test_a_replayed_row_has_crops_of_the_sizes_of_solve(more: dict[str, Any]) -> None:
    replies = (([350, 245, 700, 490], 0), *REPLIES[1:]) if more else REPLIES
    session = rolled(spoken(**more), replies)
    rules = Rules("solutions", spoken(**more).coordinates, spoken(**more))
    assert check_row(rules, Row(1, row_of(session))).faults == ()  # crops are of the file, which the row has smaller
    there = replayed(row_of(session), "Where?", spoken(**more), spoken(**more, **TURNED), Boxes())
    announced = [f"Image {at}: {shown.width} x {shown.height}." for at, shown in enumerate(session.images)]
    shown = [each.content for each in there.messages if each.role == "user"]
    assert [line in text for line, text in zip(announced, shown, strict=True)] == [True] * len(announced)
    assert [Image.open(_bytes(each)).size for each in there.images] == [each.size for each in session.images]


def test_a_reworded_row_has_crops_of_the_same_part_of_the_file() -> None:
    replies = ([0.2537, 0.2511, 0.5013, 0.4987], 0), ([0.3333, 0.3, 0.9, 0.77], 1)
    source, target = spoken("unit"), spoken("unit", name="system")
    session = rolled(source, replies)
    there = reworded(row_of(session), "Where?", source, target)
    wanted = [each.region for each in session.trace().images[1:]]
    for before, after in zip(wanted, cut_out(there, target), strict=True):
        assert before
        assert after
        assert all(abs(one - other) <= 1 for one, other in zip(before, after, strict=True))


def test_pixels_of_the_file_are_counted_as_such() -> None:
    source = spoken("original")
    record = row_of(rolled(source, (([350, 245, 700, 490], 0),)))
    there = recoded(record, source, spoken("permille"), Boxes())
    assert there.messages[2].content == look([250, 250, 500, 500], 0)
    assert recoded(there, spoken("permille"), source, Boxes()).messages[2].content == look([350, 245, 701, 490], 0)


def _bytes(picture: Picture) -> Any:
    return io.BytesIO(picture.read())
