"""Conversations in many chat protocols, made by real Sessions, as records of a dataset."""

import json
from collections.abc import Sequence

from PIL import Image

from virc.data.rows.record import MARK, Message, Picture, Record
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session
from virc.tools import registry as tools

NAMES = ("crop_image", "scale_image", "display_image")
OWN = own_protocol(tools.schemas(NAMES))
ANSWER = "<think>I see.</think><answer>42</answer>"


def look(tool: str, **arguments: object) -> str:
    call = json.dumps({"name": tool, "arguments": arguments})
    return f"<think>I look.</think>\n<tool_call>\n{call}\n</tool_call>"


CROP = look("crop_image", bbox_2d=[0, 0, 84, 56], image_index=0)
SCALE = look("scale_image", scale_factor=0.5, image_index=0)
DISPLAY = look("display_image", image_index=0)


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
