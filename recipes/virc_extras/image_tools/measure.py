"""`measure`: the distance of two points of an image, the angle at the second of three, or the colour at one."""

import math

from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Point, ToolError, function_schema

NAME = "measure"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Measure in an image: colour at a point, distance of two, or angle at the second of three.",
    ("points", "image_index"),
    points={
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "minItems": 1,
        "maxItems": 3,
        "description": "[x, y] each, in {unit}",
    },
    image_index=INDEX_SCHEMA,
)


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
    return f"The angle is {angle(first, middle, last):.1f} degrees."


def angle(first: Point, middle: Point, last: Point) -> float:
    """The angle at the second of three points, 0 to 180 degrees."""
    one, other = (math.atan2(y - middle[1], x - middle[0]) for x, y in (first, last))
    turned = abs(math.degrees(one - other))
    return min(turned, 360 - turned)
