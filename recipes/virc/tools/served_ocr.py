"""`served_ocr`: read the text of an image, by a server of OpenThinkIMG (`virc.remote.tool_servers`)."""

from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc.remote import tool_servers

NAME = "served_ocr"
PUBLISHED = "OCR"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Read the text of an image.",
        "parameters": {
            "type": "object",
            "properties": {"image_index": {"type": "integer", "description": "which image, 0 is the first"}},
            "required": ["image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Result:
    """What the server says, and the image that it made, or the same one. Raises SetupError: no server is named."""
    return tool_servers.called(PUBLISHED, call, source)
