"""`crop_image`: cut a box out of an image shown before."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Checked, ToolError, View, require_keys
from virc.reasoning.coordinates import resolve_box, resolve_index
from virc.reasoning.resample import Rescaled
from virc.reasoning.resize import MAX_ASPECT, too_long

NAME = "crop_image"
TEMPLATE = "after_image"
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


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a crop call.

    Returns:
        The call, and of `index_negative` and `box_clamped` those that had to be forgiven.

    Raises:
        ToolError: wrong keys or types, no such image, a box without pixels or over 200 times as long as wide.
    """
    require_keys(arguments, "bbox_2d", "image_index")
    index, odd_index = resolve_index(arguments["image_index"], view)
    box, odd_box = resolve_box(arguments["bbox_2d"], view, index)
    width, height = box[2] - box[0], box[3] - box[1]
    if too_long(width, height):
        reason = f"one side of the crop of {width} x {height} px is over {MAX_ASPECT} times the other"
        raise ToolError(reason, "long", ratio=max(width, height) / min(width, height))
    return Checked(Call(NAME, index, box=box), odd_index + odd_box)


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box."""
    assert call.box is not None
    left, top, right, bottom = call.box
    return Rescaled(source, (right - left, bottom - top), call.box)
