"""`crop_around_point`: cut a square around a point out of an image, with or without a dot at the point.

The window, its clipping at the edges, the dot and the enlargement are those of ViGoRL (Gabesarch/grounded-rl,
src/trainer/rl/verl/workers/rollout/multiturn/rollout_multiturn.py): a system states them as `given` arguments.
"""

import sys
from collections.abc import Mapping
from typing import cast

import msgspec
from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, Tool, View, function_schema, numbers_schema
from virc.reasoning.checking import by_schema
from virc.reasoning.resample import Rescaled

HALF = 50
_DOT, _RIM = 7, 2  # px: the radius of the dot, and how wide its white rim is

NAME = "crop_around_point"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Cut a square around a point out of an image and look at it.",
    ("point_2d", "image_index"),
    point_2d=numbers_schema(2, "[x, y] in {unit}"),
    half={"type": "integer", "minimum": 8, "maximum": 2000, "description": "half of its side, in pixels"},
    size={"type": "integer", "minimum": 28, "maximum": 2000, "description": "its side when it is shown"},
    dot={"type": "boolean", "description": "mark the point"},
    image_index=INDEX_SCHEMA,
)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call; its box is the window, as far as it is inside the image.

    Raises:
        ToolError: wrong keys or types, no such image, or a point outside of it.
    """
    found = by_schema(cast(Tool, sys.modules[__name__]), arguments, view)
    call = found.call
    assert call.index is not None
    (x, y), (width, height), half = call.points[0], view.sizes[call.index], call.arguments.get("half", HALF)
    box = (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half))
    return msgspec.structs.replace(found, call=msgspec.structs.replace(call, box=box))


def apply(call: Call, source: Image.Image) -> Image.Image | Rescaled:
    """The pixels inside the window, stretched to a square of `size` where the call has one."""
    from PIL import ImageDraw  # with FreeType: 15 ms

    assert call.box is not None
    left, top, right, bottom = call.box
    side = call.arguments.get("size")
    size = (side, side) if side else (right - left, bottom - top)
    if not call.arguments.get("dot"):
        return Rescaled(source, size, call.box)
    window = source.crop(call.box).convert("RGB")
    x, y = call.points[0][0] - left, call.points[0][1] - top
    corners = (x - _DOT, y - _DOT, x + _DOT, y + _DOT)
    ImageDraw.Draw(window).ellipse(corners, fill="red", outline="white", width=_RIM)
    return Rescaled(window, size)
