"""Rows of questions and answers alone are told from those of a chat protocol, which a model of them needs."""

import json
from pathlib import Path

import pytest
from support.public_layouts import lines, saved

from virc.data.check import plain, result
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import Row
from virc.data.rows.record import Message, Record

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
