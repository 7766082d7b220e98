"""`scale_image`: enlarge or shrink an image shown before."""

from typing import Any

NAME = "scale_image"
WORDING = "after_scale"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Enlarge or shrink an image.",
        "parameters": {
            "type": "object",
            "properties": {
                "scale_factor": {"type": "number", "description": "from 0.25 to 4"},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["scale_factor", "image_index"],
        },
    },
}
