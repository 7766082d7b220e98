"""Conversations in many chat protocols, made by real Sessions, as records of a dataset."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.data.protocol.extract import study
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session
from virc.tools import registry as tools

NAMES = ("crop_image", "scale_image", "display_image")
OWN = own_protocol(tools.schemas(NAMES))
ANSWER = "<think>I see.</think><answer>42</answer>"
QUESTIONS = (
    "What is the angle at A?", "How long is the line?", "Which letter is on top? Choices: A B C",
    "Find $x$ in {x}.", "已知 ∠A = 30°, 求 ∠C.", "First line\nand a second line.",
)  # fmt: skip


def look(tool: str, **arguments: object) -> str:
    call = json.dumps({"name": tool, "arguments": arguments})
    return f"<think>I look.</think>\n<tool_call>\n{call}\n</tool_call>"


CROP = look("crop_image", bbox_2d=[0, 0, 84, 56], image_index=0)
SCALE = look("scale_image", scale_factor=0.5, image_index=0)
DISPLAY = look("display_image", image_index=0)


def trained(**templates: str) -> Protocol:
    """Our own chat protocol with other templates, as it is found in data."""
    return msgspec.structs.replace(OWN, name="trained", **templates)


def spoken(
    protocol: Protocol,
    question: str,
    replies: Sequence[str] = (CROP, SCALE, DISPLAY, ANSWER),
    inputs: int = 1,
    side: int = 168,
) -> Record:
    """The record of a conversation in that chat protocol, whose images are within it; the first is `side` x 112 px."""
    pictures = [Image.new("RGB", (side + 28 * each, 112), "white") for each in range(inputs)]
    session = Session(protocol, question, pictures, tools=tools.known())
    for text in replies:
        session.feed(Reply(text))
    messages = tuple(
        Message(message.role, MARK * len(message.images) + message.text) for message in session.trace().messages
    )
    return Record(messages, tuple(Picture("", data=shown.png) for shown in session.images))


def reworded(record: Record, number: int, old: str, new: str) -> Record:
    """The record with another text in the message of that number, from 0."""
    messages = list(record.messages)
    assert old in messages[number].content
    messages[number] = Message(messages[number].role, messages[number].content.replace(old, new, 1))
    return msgspec.structs.replace(record, messages=tuple(messages))


WORDINGS = {
    "own": trained(),
    "a line end behind each image": trained(
        first="\n{images}\nQuestion: {question}\n\nThink.\n\nThen answer.",
        after_image="\nImage {index}: {width} x {height}. Go on.",
        after_scale="\nImage {index}: {width} x {height}. Question: {question}\n\nGo on.",
    ),
    "the size first": trained(
        image_line="{width}x{height} px: picture no. {index}",
        after_image="A picture of {width}x{height} px, no. {index}. You have 16 turns.",
        after_scale="{width}x{height} px, no. {index}. Still to be answered: {question}",
    ),
    "height before width": trained(
        image_line="Image {index} (H={height}, W={width})",
        after_image="Image {index} (H={height}, W={width})\nContinue.",
        after_scale="Image {index} (H={height}, W={width})\n{question}\nContinue.",
    ),
    "numbers before the announcement": trained(
        first="You have 16 turns and 3 tools.\n{images}\nQuestion: {question}\n\nBegin.",
        after_image="Of 16 turns some are left. Image {index}: {width} x {height}.",
    ),
    "no marker": trained(first="{images}\n{question}\n\nThink, then answer."),
    "the question first": trained(first="Question: {question}\n\n{images}\nThink, then answer."),
    "the question last": trained(first="Think, then answer.\n{images}\nQuestion: {question}"),
    "all on one line": trained(first="{images} Question: {question} Think, then answer."),
    "a reminder after every tool": trained(
        after_image="Image {index}: {width} x {height}. Asked is: {question} Go on."
    ),
}


def extract(records: Iterable[Record], *known: Any, **more: Any) -> Protocol:
    """The chat protocol that records show."""
    return study(records, *known, **more).protocol
