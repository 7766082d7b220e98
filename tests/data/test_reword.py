"""Trajectories as another system would have had them, and turns written by a grammar."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc

from virc.data.convert.recode import reworded
from virc.data.rows.record import Message, Picture, Record
from virc.data.synth import worked
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply, Session
from virc.tools.registry import known

QUESTION = "How large is A?"
BARE = Grammar(
    think=None, calls=(CallForm(body="arguments", tool="crop_image", given={"image_index": 0}),),
)  # fmt: skip


def look(thought: str, name: str, **arguments: object) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<think>{thought}</think>\n<tool_call>\n{call}\n</tool_call>"


STEPS = (
    look("Look at A.", "crop_image", bbox_2d=[28, 14, 84, 70], image_index=0),
    look("It is too small to read.", "scale_image", scale_factor=2.0, image_index=1),
    "<think>A is 40.</think>\n<answer>40</answer>",
)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A crop of a picture of 112 x 84 px, its enlargement, and the answer, in our own chat protocol."""
    return told(tmp_path, STEPS)


def told(folder: Path, replies: tuple[str, ...], protocol: Protocol = worked.PROTOCOL) -> Record:
    Image.new("RGB", (112, 84), "white").save(folder / "0.png")
    session = Session(protocol, QUESTION, [Image.open(folder / "0.png")], tools=known())
    for reply in replies:
        session.feed(Reply(reply))
    for at, shown in enumerate(session.images[1:], 1):
        (folder / f"{at}.png").write_bytes(shown.png)
    messages = tuple(Message(each.role, "<image>" * len(each.images) + each.text) for each in session.trace().messages)
    pictures = tuple(Picture(f"{at}.png", folder) for at in range(len(session.images)))
    return Record(messages, pictures, "one", QUESTION, "40")


def chat_protocol(grammar: Grammar, *names: str, **more: Any) -> Protocol:
    plain = Protocol("", "{question}", "", "", "", tools=names, repeat_limit=0, grammar=grammar)
    return msgspec.structs.replace(plain, **more)


def replies(record: Record) -> list[str]:
    return [each.content for each in record.messages if each.role == "assistant"]


@pytest.mark.parametrize(
    ("more", "box"),
    [
        ({}, "[28, 14, 84, 70]"),
        ({"coordinates": "unit"}, "[0.25, 0.1667, 0.75, 0.8333]"),
        ({"box": "center"}, "[56, 42, 56, 56]"),
    ],
)
def test_boxes_are_written_as_the_other_system_counts_them(more: dict[str, Any], box: str, record: Record) -> None:
    found = reworded(record, QUESTION, worked.PROTOCOL, chat_protocol(BARE, "crop_image", **more))
    assert replies(found) == [
        f'Look at A.\n{{"bbox_2d": {box}}}',
        "It is too small to read. A is 40.\n<answer>40</answer>",
    ]
    assert [each.role for each in found.messages] == ["user", "assistant", "user", "assistant"]
    assert len(found.images) == 2


@pytest.mark.integration
def test_rows_of_a_system_are_in_its_words_and_pass_its_check(tmp_path: Path) -> None:
    made = ("--count", 6, "--seed", 3, "--workers", 1, "--formats", "sft,batch")
    assert virc("data", "synth", "--to", tmp_path / "own", *made).code == 0
    rows = tmp_path / "own" / "trajectories.json"
    words = ("--format", "sft", "--system", "virgo", "--workers", 1)
    assert virc("data", "convert", rows, "--to", tmp_path / "virgo", *words).code == 0
    assert virc("data", "check", tmp_path / "virgo").code == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    content = json.loads((tmp_path / "virgo" / "trajectories.json").read_bytes())
    assert {row["data_source"] for row in content} == {"virgo"}
    for row in content:  # long thoughts in text alone have no image, and often no system message
        row["images"] = []
        row["messages"] = [each | {"content": each["content"].replace("<image>", "")} for each in row["messages"][1:]]
    (alone / "text.json").write_text(json.dumps(content))
    checked = virc("data", "check", alone / "text.json", "--system", "virgo", "--json")
    assert (checked.code, checked.json["good"]) == (0, 6), checked.err
    assert virc("data", "check", alone / "text.json", "--json").json["faults"] == {}  # replies without a chat protocol
    content[0]["answer"] = "-1"
    (alone / "text.json").write_text(json.dumps(content))
    wrong = virc("data", "check", alone / "text.json", "--system", "virgo", "--json")
    assert wrong.json["faults"] == {"answer_differs": 1}
