"""`crop_action`: cut a box and a twentieth of its sides around it out of an image. Boxes are objects, and images are
counted from 1.

Source: OpenDCAI/vts-v@9137312, src/tools.py, crop_image_action.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import ToolError, View
from virc.tools import crop

CORNERS = ("x_min", "y_min", "x_max", "y_max")
MARGIN = 0.05

NAME = "crop_action"
TEMPLATE = "after_image"
CUTS = True
_NUMBERED = {"type": "integer", "description": "which image, 1 is the first"}
_CORNERED = {"type": "object", "description": ", ".join(CORNERS) + " in {unit}"}
DIFFERING = {INDEX: _NUMBERED, BOX: _CORNERED}
"""The schemas of arguments that are written in another way than for other tools."""
SCHEMA = crop.schema(NAME, "Cut a box out of an image and look at it alone.", **DIFFERING)

apply = crop.apply
"""The pixels inside the call's box."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as a list, and the image counted from 0. Raises ToolError: its number is under 1."""
    box, index = arguments.get(BOX), arguments.get(INDEX)
    found = dict(arguments)
    if isinstance(box, dict) and box.keys() == set(CORNERS):
        found[BOX] = [box[corner] for corner in CORNERS]
    if type(index) is int:
        if not 1 <= index <= len(view.sizes):
            reason = f"{INDEX} is {index}, but the images are 1 to {len(view.sizes)}"
            raise ToolError(reason, "image", image=index)
        found[INDEX] = index - 1
    return found


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as an object, and the image counted from 1."""
    return {**arguments, BOX: dict(zip(CORNERS, arguments[BOX], strict=True)), INDEX: arguments[INDEX] + 1}


check = partial(crop.check, name=NAME, margin=MARGIN)
"""Read a call whose box is a list."""
