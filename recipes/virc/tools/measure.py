"""`measure`: the distance of two points of an image, the angle at the second of three, or the colour at one."""

import math
from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, ToolError

NAME = "measure"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Measure in an image: colour at a point, distance of two, or angle at the second of three.",
        "parameters": {
            "type": "object",
            "properties": {
                "points": {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                    "minItems": 1,
                    "maxItems": 3,
                    "description": "[x, y] each, in {unit}",
                },
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["points", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> str:
    """The measure in words; ToolError: two points of an angle are one."""
    if len(call.points) == 1:
        colour = source.convert("RGB").getpixel(call.points[0])
        assert isinstance(colour, tuple)
        return "The colour is #{:02x}{:02x}{:02x}: red {}, green {}, blue {} of 255.".format(*colour, *colour)
    if len(call.points) == 2:
        distance = math.dist(*call.points)
        return f"The distance is {distance:.1f} pixels; the image is {source.width} x {source.height} pixels."
    first, middle, last = call.points
    if middle in (first, last):
        raise ToolError("the angle has no size: its second point is the first or the third", "arguments")
    ends = (math.atan2(y - middle[1], x - middle[0]) for x, y in (first, last))
    turned = abs(math.degrees(next(ends) - next(ends)))
    return f"The angle is {min(turned, 360 - turned):.1f} degrees."
