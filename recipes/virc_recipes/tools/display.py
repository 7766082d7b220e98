"""`display_image`: show an image again."""

from typing import Any

NAME = "display_image"
WORDING = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Show an image again.",
        "parameters": {
            "type": "object",
            "properties": {
                "image_index": {"type": "integer", "description": "which image, 0 is the first"}
            },
            "required": ["image_index"],
        },
    },
}
