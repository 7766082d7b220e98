"""`crop_action`: cut a box and a twentieth of its sides around it out of an image. Boxes are objects, and images are
counted from 1.

Source: OpenDCAI/vts-v@9137312, src/tools.py, crop_image_action.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Checked, ToolError, View, function_schema
from virc.tools import crop

CORNERS = ("x_min", "y_min", "x_max", "y_max")
MARGIN = 0.05

NAME = "crop_action"
TEMPLATE = "after_image"
CUTS = True
_DESCRIPTION = "Cut a box out of an image and look at it alone."
_NUMBERED = {**crop.SCHEMA["function"]["parameters"]["properties"], INDEX: {"type": "integer", "minimum": 1}}
SCHEMA = function_schema(NAME, _DESCRIPTION, (BOX, INDEX), **_NUMBERED)

apply = crop.apply
"""The pixels inside the call's box."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as a list, and the image counted from 0. Raises ToolError: its number is under 1."""
    box, index = arguments.get(BOX), arguments.get(INDEX)
    found = dict(arguments)
    if isinstance(box, dict) and box.keys() == set(CORNERS):
        found[BOX] = [box[corner] for corner in CORNERS]
    if type(index) is int:
        if index < 1:
            raise ToolError(f"{INDEX} is {index}, but the first image is 1", "image", image=index)
        found[INDEX] = index - 1
    return found


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as an object, and the image counted from 1."""
    return {**arguments, BOX: dict(zip(CORNERS, arguments[BOX], strict=True)), INDEX: arguments[INDEX] + 1}


def check(arguments: Mapping[str, object], view: View, name: str = NAME) -> Checked:
    """Read a call of this tool, or of `zoomin_action`. Raises as that of `crop_image`."""
    checked = crop.check(arguments, view, name)
    return msgspec.structs.replace(checked, call=msgspec.structs.replace(checked.call, margin=MARGIN))
