"""`orient_image`: turn an image by quarters, or mirror it."""

from PIL import Image
from PIL.Image import Transpose

from virc.reasoning.calls import INDEX_SCHEMA, Call, function_schema

CHANGES = {
    "turn_90": Transpose.ROTATE_270,  # Pillow turns the other way
    "turn_180": Transpose.ROTATE_180,
    "turn_270": Transpose.ROTATE_90,
    "mirror_left_right": Transpose.FLIP_LEFT_RIGHT,
    "mirror_top_bottom": Transpose.FLIP_TOP_BOTTOM,
}

NAME = "orient_image"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Turn or mirror an image.",
    ("change", "image_index"),
    change={"type": "string", "enum": list(CHANGES), "description": "turns are clockwise"},
    image_index=INDEX_SCHEMA,
)


def apply(call: Call, source: Image.Image) -> Image.Image:
    """The image, each pixel of it at its new place."""
    return source.transpose(CHANGES[call.arguments["change"]])
