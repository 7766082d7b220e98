"""`crop_image`: cut a box out of an image shown before."""

from typing import Any

NAME = "crop_image"
WORDING = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Cut a box out of an image and look at it alone.",
        "parameters": {
            "type": "object",
            "properties": {
                "bbox_2d": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "minItems": 4,
                    "maxItems": 4,
                    "description": "left, top, right, bottom in {unit}",
                },
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["bbox_2d", "image_index"],
        },
    },
}
