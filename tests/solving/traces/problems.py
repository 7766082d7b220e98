"""Traces made by driving real Sessions."""

import json
from collections.abc import Sequence

from PIL import Image, ImageDraw

from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Trace
from virc.tools.registry import known, schemas

Problem = tuple[Trace, Sequence[Shown]]
META = {
    "model": "some/model",
    "sampling": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 1024, "seed": 3},
    "versions": {"virc": "0.1.0"},
}


def picture(colour: str, width: int = 224, height: int = 168) -> Image.Image:
    image = Image.new("RGB", (width, height), colour)
    ImageDraw.Draw(image).line((0, 0, width, height), fill="teal", width=5)
    return image


def look(tool: str, think: str = "I look closer.", **arguments: object) -> str:
    call = json.dumps({"name": tool, "arguments": arguments})
    return f"<think>\n{think}\n</think>\n\n<tool_call>\n{call}\n</tool_call>"


def drive(session: Session, replies: Sequence[str]) -> None:
    for number, text in enumerate(replies):
        session.feed(Reply(text, (7, number), prompt_tokens=1500 + number, completion_tokens=40 + number))


def session(question: str = "How long is the line?", inputs: int = 2) -> Session:
    pictures = [picture("white"), picture("black", 448, 56)][:inputs]
    protocol = own_protocol(schemas(["crop_image", "scale_image", "display_image"]))
    return Session(protocol, question, pictures, tools=known())


def solved(question: str = "How long is the line?", think: str = "I see it.", answer: str = "42") -> Problem:
    """Two inputs, then a clamped crop, two rejected tries before a scale, a display, and an answer."""
    running = session(question)
    replies = [
        look("crop_image", think, bbox_2d=[140, 56, 300, 140], image_index=0),
        "no tags at all",
        look("tilt_image", image_index=0),
        look("scale_image", think, scale_factor=2, image_index=2),
        look("display_image", image_index=1),
        f"<think>{think}</think><answer>{answer}</answer>",
    ]
    drive(running, replies)
    return running.trace(), running.images


def interrupted() -> Problem:
    """One unit, one rejected try, then Ctrl-C."""
    running = session(inputs=1)
    drive(running, [look("crop_image", bbox_2d=[28, 28, 84, 84], image_index=0), "<think>and then"])
    running.stop("interrupted", "stopped in turn 2")
    return running.trace(), running.images
