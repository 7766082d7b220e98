"""`served_point`: find where something is in an image, by a server of OpenThinkIMG (`virc.remote.tool_servers`)."""

from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc.remote import tool_servers

NAME = "served_point"
PUBLISHED = "Point"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Find a thing in an image: x and y in percent of its sides.",
        "parameters": {
            "type": "object",
            "properties": {
                "param": {"type": "string", "description": "what to find"},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["param", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Result:
    """What the server says, and the image that it made, or the same one. Raises SetupError: no server is named."""
    return tool_servers.called(PUBLISHED, call, source)
