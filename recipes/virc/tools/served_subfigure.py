"""`served_subfigure`: show one plot of a figure alone, by a server of OpenThinkIMG (`virc.remote`)."""

from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc.remote import tool_servers

NAME = "served_subfigure"
PUBLISHED = "ZoomInSubfigure"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Show one plot of a figure alone.",
        "parameters": {
            "type": "object",
            "properties": {
                "param": {"type": "string", "description": "the title or place of the plot"},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["param", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Result:
    """What the server says, and the image that it made, or the same one. Raises SetupError: no server is named."""
    return tool_servers.called(PUBLISHED, call, source)
