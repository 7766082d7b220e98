"""`show_grid`: an image with lines at equal distances, each with its coordinate in the unit of boxes."""

import sys
from collections.abc import Mapping
from typing import cast

import msgspec
from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, Tool, View, function_schema
from virc.reasoning.checking import by_schema
from virc.reasoning.coordinates import counted_in

_PARTS = 10
_LINE, _TEXT, _FONT = (255, 0, 0), (255, 255, 255), 12

NAME = "show_grid"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Look at an image under a grid whose lines say their coordinates.",
    ("image_index",),
    parts={"type": "integer", "minimum": 2, "maximum": 50, "description": "of each side, 10 if left out"},
    image_index=INDEX_SCHEMA,
)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call; `sides` of its arguments are what the image's sides count.

    Raises:
        ToolError: wrong keys or types, or no such image.
    """
    found = by_schema(cast(Tool, sys.modules[__name__]), arguments, view)
    assert found.call.index is not None
    sides = list(counted_in(view, found.call.index))
    call = msgspec.structs.replace(found.call, arguments={**found.call.arguments, "sides": sides})
    return msgspec.structs.replace(found, call=call)


def apply(call: Call, source: Image.Image) -> Image.Image:
    """A copy of the image with the grid: lines of one pixel, and white numbers on red."""
    from PIL import ImageDraw, ImageFont  # with FreeType: 15 ms

    image, parts = source.convert("RGB"), call.arguments.get("parts", _PARTS)
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    font = ImageFont.load_default(_FONT)
    for part in range(1, parts):
        x, y = (part * side // parts for side in image.size)
        draw.line((x, 0, x, image.height), _LINE)
        draw.line((0, y, image.width, y), _LINE)
        for at, side in (((x, 0), call.arguments["sides"][0]), ((0, y), call.arguments["sides"][1])):
            label = f"{part * side / parts:.3g}" if side == 1 else str(round(part * side / parts))
            draw.rectangle(draw.textbbox(at, label, font), fill=_LINE)
            draw.text(at, label, _TEXT, font)
    return image
