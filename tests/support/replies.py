"""What the session tests feed: pictures, replies, and what a session then says."""

import json
from typing import Any

from PIL import Image

from virc.reasoning.session import Ask, Done, Reply, Session
from virc.reasoning.trace import Trace


def picture(width: int = 336, height: int = 252) -> Image.Image:
    return Image.linear_gradient("L").convert("RGB").resize((width, height))


def answer(text: str, **more: Any) -> Reply:
    return Reply(f"<think>so</think>\n<answer>{text}</answer>", **more)


def call(name: str = "display_image", **arguments: object) -> Reply:
    arguments.setdefault("image_index", 0)
    return Reply(f"<think>look</think><tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>")


def finished(session: Session) -> Trace:
    done = session.next()
    assert isinstance(done, Done)
    return done.trace


def asked(session: Session) -> Ask:
    ask = session.next()
    assert isinstance(ask, Ask)
    return ask
