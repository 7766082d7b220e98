"""`crop_image`: cut a box out of an image shown before."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, View, function_schema, numbers_schema, require_keys
from virc.reasoning.coordinates import resolve_box, resolve_index
from virc.reasoning.resample import Rescaled

NAME = "crop_image"
TEMPLATE = "after_image"
CUTS = True
SCHEMA = function_schema(
    NAME,
    "Cut a box out of an image and look at it alone.",
    ("bbox_2d", "image_index"),
    bbox_2d=numbers_schema(4, "left, top, right, bottom in {unit}"),
    image_index=INDEX_SCHEMA,
)


def schema(name: str, description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of another tool that cuts out a box; `properties` replace those of this one."""
    function = {**SCHEMA["function"], "name": name, "description": description}
    taken = {**function["parameters"], "properties": {**function["parameters"]["properties"], **properties}}
    return {**SCHEMA, "function": {**function, "parameters": taken}}


def check(arguments: Mapping[str, object], view: View, name: str = NAME, margin: float = 0) -> Checked:
    """Read a call of this tool, or of another one that cuts out a box.

    Args:
        margin: how much more than the box is cut out at each side, in parts of its own sides.

    Returns:
        The call, and of `index_negative` and `box_clamped` those that had to be forgiven.

    Raises:
        ToolError: wrong keys or types, no such image, a box without pixels or over 200 times as long as wide.
    """
    require_keys(arguments, "bbox_2d", "image_index")
    index, odd_index = resolve_index(arguments["image_index"], view)
    box, odd_box = resolve_box(arguments["bbox_2d"], view, index)
    return Checked(Call(name, index, box=box, margin=margin), odd_index + odd_box)


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box."""
    assert call.box is not None
    left, top, right, bottom = call.box
    return Rescaled(source, (right - left, bottom - top), call.box)
