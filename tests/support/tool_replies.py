"""Replies with several calls, and a tool that returns a text."""

import json
from collections.abc import Sequence
from typing import Any

from virc.reasoning.calls import Call


def schema(name: str, required: Sequence[str] = (), **properties: object) -> dict[str, Any]:
    """The schema of a tool with these arguments."""
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


class Reader:
    """A tool that returns a text."""

    NAME, TEMPLATE = "read_text", "after_image"
    SCHEMA = schema("read_text")

    def __init__(self, text: str) -> None:
        self._text = text

    def apply(self, call: Call, source: object) -> str:
        return self._text


def said(*calls: tuple[str, dict[str, object]]) -> str:
    listed = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    return "<think>I look.</think>" + "".join(f"\n<tool_call>\n{each}\n</tool_call>" for each in listed)


def crop(*box: int, index: object = 0) -> tuple[str, dict[str, object]]:
    return "crop_image", {"bbox_2d": list(box), "image_index": index}
