"""`draw_on_image`: draw boxes, lines, arrows, points or a text on a copy of an image.

Lines have hard edges, so that every pixel is of the picture or of the mark's colour.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageColor

if TYPE_CHECKING:
    from PIL import ImageDraw

from virc.reasoning.calls import INDEX_SCHEMA, Call, Point, ToolError, function_schema

_COLORS = ("red", "green", "blue", "yellow", "cyan", "magenta", "orange", "white", "black")
_MIN_POINTS = {"box": 2, "line": 2, "arrow": 2, "point": 1, "text": 1}  # points that a shape needs
_FONT = 20  # px, height of a text

NAME = "draw_on_image"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Draw on a copy of an image and look at it.",
    ("shape", "points", "image_index"),
    shape={
        "type": "string",
        "enum": list(_MIN_POINTS),
        "description": "box: points are two opposite corners; line: goes through all points; arrow: from"
        " the first point to the second; point: a dot at each; text: at each",
    },
    points={
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "minItems": 1,
        "maxItems": 64,
        "description": "[x, y] each, in {unit}",
    },
    text={"type": "string", "minLength": 1, "maxLength": 40},
    color={"type": "string", "enum": list(_COLORS), "description": "red where it is left out"},
    width={"type": "integer", "minimum": 1, "maximum": 20, "description": "of lines, in pixels"},
    image_index=INDEX_SCHEMA,
)


def apply(call: Call, source: Image.Image) -> Image.Image:
    """A copy of the image with the marks on it; ToolError: a shape lacks points, or a text its letters."""
    shape, points = call.arguments["shape"], call.points
    if len(points) < _MIN_POINTS[shape] or (shape in ("box", "arrow") and len(points) > 2):
        raise ToolError(f"a {shape} has {_MIN_POINTS[shape]} points, and the call has {len(points)}", "arguments")
    if shape == "text" and "text" not in call.arguments:
        raise ToolError("the call has no text", "arguments")
    from PIL import ImageDraw, ImageFont  # with FreeType: 15 ms

    image = source.convert("RGB")
    width, color = call.arguments.get("width", 3), ImageColor.getrgb(call.arguments.get("color", _COLORS[0]))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    if shape == "box":
        (left, right), (top, bottom) = (sorted(at) for at in zip(*points, strict=True))
        draw.rectangle((left, top, right, bottom), outline=color, width=width)
    elif shape == "line":
        draw.line(points, color, width)
    elif shape == "arrow":
        _arrow(draw, points, color, width)
    for x, y in points if shape in ("point", "text") else ():
        if shape == "point":
            draw.ellipse((x - width, y - width, x + width, y + width), fill=color)
        else:
            draw.text((x, y), call.arguments["text"], color, ImageFont.load_default(_FONT))
    return image


def _arrow(draw: "ImageDraw.ImageDraw", points: Sequence[Point], color: tuple[int, ...], width: int) -> None:
    """A line with a head of three widths at its end."""
    (x, y), (to_x, to_y) = points
    length, size = math.hypot(to_x - x, to_y - y), 3 * width
    if length == 0:
        raise ToolError("the arrow ends where it begins", "arguments")
    across, down = (to_x - x) / length, (to_y - y) / length
    foot_x, foot_y = to_x - size * across, to_y - size * down
    draw.line((x, y, foot_x, foot_y), color, width)
    sides = ((foot_x - size * down, foot_y + size * across), (foot_x + size * down, foot_y - size * across))
    draw.polygon(((to_x, to_y), *sides), fill=color)
