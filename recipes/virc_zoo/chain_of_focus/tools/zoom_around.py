"""`zoom_around`: cut a box out with a quarter of its sides around it, and show that twice as large.

A box that leaves its image is refused, as are boxes without a pixel.
Source: xtong-zhang/Chain-of-Focus@431ff0d, verl/recipe/zoomin/zoomin_vision_tool.py.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from PIL import Image

from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Call, Checked, Size, ToolError, View, function_schema, require_keys
from virc.reasoning.coordinates import clamped, resolve_index
from virc.reasoning.resample import Rescaled
from virc.tools import crop

MARGIN, TIMES = 0.25, 2

NAME = "zoom_around"
TEMPLATE = "after_image"
CUTS = True
SCHEMA = function_schema(
    NAME,
    "Cut a box and what is around it out of an image, and look at it enlarged.",
    (BOX, INDEX),
    **crop.SCHEMA["function"]["parameters"]["properties"],
)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call. Raises ToolError: as `crop_image` does, or the box leaves its image."""
    require_keys(arguments, BOX, INDEX)
    index, _ = resolve_index(arguments[INDEX], view)
    corners, inside, _ = clamped(arguments[BOX], view, index)
    if corners != inside:
        width, height = size = view.sizes[index]
        issues = ", ".join(_issues(corners, size))
        raise ToolError(issues, "outside", box=arguments[BOX], width=width, height=height)
    checked = crop.check(arguments, view, NAME)
    return msgspec.structs.replace(checked, call=msgspec.structs.replace(checked.call, margin=MARGIN))


def _issues(corners: Sequence[float], size: Size) -> Iterator[str]:
    for name, at in zip(("x0", "y0"), corners[:2], strict=True):
        if at < 0:
            yield f"{name} ({at}) < 0"
    for name, side, at, most in zip(("x1", "y1"), ("width", "height"), corners[2:], size, strict=True):
        if at > most:
            yield f"{name} ({at}) > image {side} ({most})"


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box, at twice their size."""
    cut = crop.apply(call, source)
    width, height = cut.size
    return msgspec.structs.replace(cut, size=(width * TIMES, height * TIMES))
