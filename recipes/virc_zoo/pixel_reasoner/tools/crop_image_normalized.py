"""`crop_image_normalized`: cut out a box, and around it a tenth of the sides of its image.

Four numbers under 1 are shares of the sides, all others are pixels: a box that ends at 1.0 is one of pixels, as there.
Images count from 1. The frames of a video count as one image once a tool has shown another: 2 is the first of those.
Source: TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, curiosity_driven_rl/openrlhf/trainer/ppo_utils/experience_maker.py,
CropImageNormalized and execute_tool.
"""

from collections.abc import Callable, Mapping
from typing import Any

from virc.core.text import plain
from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Call, Checked, ToolError, View, require_keys
from virc.reasoning.coordinates import clamped, resolve_index
from virc.tools import crop

_MARGIN = 0.1

NAME = "crop_image_normalized"
TEMPLATE = "after_image"
CUTS = True
DIFFERING: Mapping[str, Any] = {
    INDEX: {"type": "integer", "description": "which image, 1 is the first"},
    BOX: {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
}
"""The schemas of arguments that are written in another way than for other tools."""
SCHEMA = crop.schema(NAME, "Look closer at a part of an image.", **DIFFERING)
apply = crop.apply
"""The pixels inside the call's box."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the image counted from 0. Raises ToolError: there is none of that number."""
    number, count, hidden = arguments.get(INDEX), len(view.sizes), _hidden(view)
    first = 2 if hidden else 1
    if type(number) is not int or not first <= number <= count - hidden:
        numbers = f"[{first},{count - hidden}]"
        raise ToolError(f"there is no image {plain(number, 40)}; the images are {numbers}", "image", image=numbers)
    return {**arguments, INDEX: number + hidden - 1}


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the image counted from 1."""
    return {**arguments, INDEX: arguments[INDEX] - _hidden(view) + 1}


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call. Raises ToolError: wrong keys or types, no such image, no four numbers."""
    return checked(NAME, arguments, view, (_MARGIN, _MARGIN))


def checked(
    name: str,
    arguments: Mapping[str, object],
    view: View,
    margin: tuple[float, float],
    whole: Callable[[float], int] = round,
) -> Checked:
    """Read a call of a tool that cuts out a margin, too.

    Args:
        margin: parts of the width and of the height of the image.
        whole: makes whole pixels of edges.
    """
    require_keys(arguments, BOX, INDEX)
    index, odd = resolve_index(arguments[INDEX], view)
    corners, size = clamped(arguments[BOX], view, index)[0], view.sizes[index]
    counted = (1, 1) if all(each < 1 for each in corners) else size
    left, top, right, bottom = (number / side for number, side in zip(corners, counted * 2, strict=True))
    sides = (left - margin[0], top - margin[1], right + margin[0], bottom + margin[1])
    left, top, right, bottom = (min(max(0.0, each), 1.0) for each in sides)
    box = (whole(left * size[0]), whole(top * size[1]), whole(right * size[0]), whole(bottom * size[1]))
    return Checked(Call(name, index, box=box, region=(left, top, right, bottom)), odd)


def _hidden(view: View) -> int:
    """How many frames of a video have no number any more, since a tool has shown another image."""
    return view.given - 1 if len(view.sizes) > view.given else 0
