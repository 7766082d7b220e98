"""`orient_image`: turn an image by quarters, or mirror it."""

from typing import Any

from PIL import Image
from PIL.Image import Transpose

from virc.reasoning.calls import Call

CHANGES = {
    "turn_90": Transpose.ROTATE_270,  # Pillow turns the other way
    "turn_180": Transpose.ROTATE_180,
    "turn_270": Transpose.ROTATE_90,
    "mirror_left_right": Transpose.FLIP_LEFT_RIGHT,
    "mirror_top_bottom": Transpose.FLIP_TOP_BOTTOM,
}

NAME = "orient_image"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Turn or mirror an image.",
        "parameters": {
            "type": "object",
            "properties": {
                "change": {"type": "string", "enum": list(CHANGES), "description": "turns are clockwise"},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["change", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Image.Image:
    """The image, each pixel of it at its new place."""
    return source.transpose(CHANGES[call.arguments["change"]])
