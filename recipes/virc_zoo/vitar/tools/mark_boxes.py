"""`mark_boxes`: draw the outlines of several boxes on a copy of an image, in the pixels of its file.

Red, three pixels wide, as ViTAR marks regions (JLINEkai/ViTAR@1448fb2, visual_toolcrop.py).
"""

import sys
from collections.abc import Mapping
from typing import cast

import msgspec
from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, Region, Tool, ToolError, View, function_schema
from virc.reasoning.checking import by_schema
from virc.reasoning.coordinates import resolve_region
from virc.reasoning.protocol import ErrorKind

_COLOR, _WIDTH = (255, 0, 0), 3

NAME = "mark_boxes"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Mark regions of an image with boxes and look at it.",
    ("boxes", "image_index"),
    boxes={"type": "array", "items": {}, "maxItems": 64, "description": "[left, top, right, bottom] each, in {unit}"},
    image_index=INDEX_SCHEMA,
)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call; its box is the whole image, its regions are the boxes.

    Raises:
        ToolError: wrong keys or types, no such image, or a box without a pixel of the image.
    """
    found = by_schema(cast(Tool, sys.modules[__name__]), arguments, view)
    call = found.call
    assert call.index is not None
    regions = [_region(box, view, call.index) for box in call.arguments["boxes"]]
    whole = (0, 0, *view.sizes[call.index])
    return msgspec.structs.replace(found, call=msgspec.structs.replace(call, box=whole, arguments={"regions": regions}))


def _region(box: object, view: View, index: int) -> Region:
    left, top, right, bottom = region = resolve_region(box, view, index)
    if left < right and top < bottom:
        return region
    written = dict(zip(("x0", "y0", "x1", "y1"), cast(list[float], box), strict=True))
    kind: ErrorKind = "no_width" if left >= right else "no_height"
    raise ToolError(f"the box {box} holds no pixel of the image", kind, box=box, **written)


def apply(call: Call, source: Image.Image) -> Image.Image:
    """A copy of the image with the outlines on it."""
    from PIL import ImageDraw  # with FreeType: 15 ms

    image = source.convert("RGB").copy()
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in call.arguments["regions"]:
        corners = (left * image.width, top * image.height, right * image.width, bottom * image.height)
        draw.rectangle(tuple(round(side, 6) for side in corners), outline=_COLOR, width=_WIDTH)
    return image
