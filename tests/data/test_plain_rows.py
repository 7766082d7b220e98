"""Rows of questions and answers alone are told from those of a chat protocol, which a model of them needs."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.public_layouts import lines, saved

from virc.data.check import plain, result
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import Row, Source
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.synth.worked import PROTOCOL
from virc.models.chat_protocol import written
from virc.reasoning.protocol import FILE_NAME

CALL = '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4]}}</tool_call>'
MARKED, BARE = "<think>so</think><answer>4</answer>", "It is 4."
TOOLS = "You may call <tools>[]</tools>."


def record(system: str | None, *replies: str) -> Record:
    start = () if system is None else (Message("system", system),)
    turns = [turn for reply in replies for turn in (Message("user", "q"), Message("assistant", reply))]
    return Record((*start, *turns))


@pytest.mark.parametrize(
    ("records", "system", "is_marked"),
    [
        ([record(None, BARE)], "usual", False),
        ([record("Mine.", BARE), record("Mine.", MARKED)], "Mine.", False),
        ([record("Mine.", MARKED), record("Mine.", MARKED, MARKED)], "Mine.", True),
        ([record("Mine.", BARE), record("Yours.", BARE)], None, False),  # a system message of each row is its own
        ([record("Mine.", BARE), record(None, BARE)], None, False),
        ([record(TOOLS, BARE)], None, False),
        ([record("Mine.", BARE), record("Mine.", BARE, CALL)], None, False),
        ([record("Mine.", "f(2) = 7")], "Mine.", False),  # an answer holds such
        ([record("Mine.")], "Mine.", False),
        ([], None, False),
    ],
)
def test_rows_alike_and_without_calls_are_plain(records: list[Record], system: str | None, is_marked: bool) -> None:
    rows = [Row(number, each) for number, each in enumerate(records, 1)]
    found = plain.protocol_of(result.survey(rows, lambda row: ()), "usual")
    assert (found.system if found else None) == system
    if found:
        assert found.tools == ()
        assert (found.grammar.think is not None) == (found.grammar.answer is not None) == is_marked


@pytest.mark.parametrize(
    ("records", "is_plain"),
    [
        ([record("Mine.", BARE), record("Yours.", BARE)], True),
        ([record(None, BARE), record(TOOLS, BARE)], False),
        ([record(None, BARE, MARKED)], False),
        ([record(None, BARE, CALL)], False),
        ([record(None, "<answer>4</answer>")], False),
        ([], False),
    ],
)
def test_conversations_without_marks_are_plain(records: list[Record], is_plain: bool) -> None:
    found = plain.of_records(iter(records))
    assert (found is not None) == is_plain
    assert found is None or found.system == (records[0].messages[0].content if found.system else "")


@pytest.mark.parametrize(
    ("asked", "question"),
    [
        ("<image><image> How do they differ?", "How do they differ?"),
        ("<image>\n<image>\nHow do they differ?", "How do they differ?"),
        ("How do they differ?\n<image><image>", "How do they differ?"),
        ("How differs <image> from <image>?", "How differs <image 1> from <image 2>?"),
    ],
)
def test_the_question_of_a_conversation_is_read_wherever_its_images_stand(
    asked: str, question: str, tmp_path: Path
) -> None:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": "One is red."}]
    row = {"id": 1, "images": [saved(tmp_path, f"{at}.png", at) for at in range(2)], "conversations": turns}
    convert(ConvertConfig([lines(tmp_path / "rows.jsonl", [row])], tmp_path / "to", "batch"))
    (made,) = map(json.loads, (tmp_path / "to" / "rows.jsonl").read_text().splitlines())
    assert made == {"id": 1, "images": ["0.png", "1.png"], "question": question, "answer": "One is red."}


def boxed(number: int, side: int, *boxes: Sequence[int]) -> Row:
    """A row with calls of these boxes on a square picture."""
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    call = CALL.replace("]}", '], "image_index": 0}')
    calls = [f"<think>a</think>{call.replace('[1, 2, 3, 4]', str([*box]))}" for box in boxes]
    turns = [turn for reply in calls for turn in (Message("assistant", reply), Message("user", "Go on."))]
    return Row(number, Record((Message("user", f"{MARK}q"), *turns), (Picture("", data=file.getvalue()),)))


SHARES, PIXELS, EITHER = (280, [600, 600, 999, 999]), (1288, [0, 0, 1200, 1200]), [10, 10, 90, 90]


@pytest.mark.parametrize(
    ("rows", "given", "found"),
    [
        ([SHARES, (280, [600, 0, 900, 999], EITHER), PIXELS], {},
         ("permille", "as 2 of the first 4 boxes fit nothing else, and 1 the other")),
        ([PIXELS, SHARES, PIXELS], {}, ("pixel", "as 2 of the first 3 boxes fit nothing else, and 1 the other")),
        ([(1000, EITHER), (1000, EITHER), (280, EITHER)], {},
         ("permille", "the first boxes fit both, and most inputs are 1000 x 1000 px")),
        ([(1000, EITHER), (280, EITHER)], {}, ("pixel", "the first boxes fit both")),
        ([(1000,), (280,)], {}, ("pixel", "no boxes in the first rows")),
        ([SHARES], {"given": "pixel"}, ("pixel", "as --coordinates says")),
        ([SHARES], {"protocol_given": PROTOCOL}, ("pixel", "as the system says")),
        ([SHARES], {"saved": True}, ("pixel", f"as {FILE_NAME} says")),
        ([PIXELS], {"name": "x_scale_fixed"}, ("permille", "as its name says")),
        ([SHARES], {"name": "scale_dynamic"}, ("pixel", "as its name says")),
    ],
)  # fmt: skip
def test_what_boxes_are_counted_in_is_told_with_its_reason(
    rows: list[Any], given: dict[str, Any], found: tuple[str, str], tmp_path: Path
) -> None:
    if given.get("saved"):
        (tmp_path / FILE_NAME).write_bytes(written(PROTOCOL))
    source = Source(tmp_path / "rows.json", "sft", given.get("name", "rows"))
    made = [boxed(at, *each) for at, each in enumerate(rows, 1)]
    rules, why = plain.rules_for(source, made, given.get("given", "auto"), given.get("protocol_given"))
    assert (rules.coordinates, why) == found


def test_a_chat_protocol_beside_rows_of_another_system_message_is_not_theirs(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(written(PROTOCOL))
    source = Source(tmp_path / "rows.json", "sft", "rows")
    for system, is_theirs in ((PROTOCOL.system, True), ("Another.", False), (None, True)):
        rules, _ = plain.rules_for(source, [Row(1, record(system, MARKED))], "auto")
        assert (rules.protocol is not None) == is_theirs
        assert not rules.plain
