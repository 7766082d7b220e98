"""`served_region`: mark the region around a point, by a server of OpenThinkIMG (`virc.remote`)."""

from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc.remote import tool_servers

NAME = "served_region"
PUBLISHED = "SegmentRegionAroundPoint"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Mark the region around a point of an image.",
        "parameters": {
            "type": "object",
            "properties": {
                "param": {"type": "string", "description": 'the point in percent of the sides, x="21.5" y="28.5"'},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["param", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Result:
    """What the server says, and the image that it made, or the same one. Raises SetupError: no server is named."""
    return tool_servers.called(PUBLISHED, call, source)
