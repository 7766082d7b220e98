"""`zoom_around`: cut a box out with a quarter of its sides around it, and show that twice as large.

A box that leaves its image is refused, as are boxes without a pixel.
Source: xtong-zhang/Chain-of-Focus@431ff0d, verl/recipe/zoomin/zoomin_vision_tool.py.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from PIL import Image

from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Call, Checked, Size, ToolError, View, require_keys
from virc.reasoning.coordinates import clamped, resolve_index
from virc.reasoning.resample import Rescaled
from virc.tools import crop

MARGIN, TIMES = 0.25, 2

NAME = "zoom_around"
TEMPLATE = "after_image"
CUTS = True
SCHEMA = crop.schema(NAME, "Cut a box and what is around it out of an image, and look at it enlarged.")


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call. Raises ToolError: as `crop_image` does, or the box leaves its image."""
    require_keys(arguments, BOX, INDEX)
    index, _ = resolve_index(arguments[INDEX], view)
    corners, _, sides = clamped(arguments[BOX], view, index)
    if issues := ", ".join(_issues(corners, sides)):
        raise ToolError(issues, "outside", box=arguments[BOX], width=sides[0], height=sides[1])
    return crop.check(arguments, view, NAME, MARGIN)


def _issues(corners: Sequence[float], sides: Size) -> Iterator[str]:
    """What the program looks for; a box beyond an edge on both of its sides holds no pixel, which it says instead."""
    (x0, y0, x1, y1), (width, height) = corners, sides
    if x0 < 0:
        yield f"x0 ({x0}) < 0"
    if y0 < 0:
        yield f"y0 ({y0}) < 0"
    if x1 > width:
        yield f"x1 ({x1}) > image width ({width})"
    if y1 > height:
        yield f"y1 ({y1}) > image height ({height})"


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box, at twice their size."""
    cut = crop.apply(call, source)
    width, height = cut.size
    return msgspec.structs.replace(cut, size=(width * TIMES, height * TIMES))
