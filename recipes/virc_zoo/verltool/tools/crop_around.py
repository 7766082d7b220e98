"""`crop_around`: cut out a box, and around it a tenth of the sides of its image, at most 600 pixels.

Boxes are read as those of `crop_image_normalized`; images count from 1, all that were shown.
Source: TIGER-AI-Lab/verl-tool@980962b, verl_tool/servers/tools/pixel_reasoner.py, crop.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from virc.core.text import plain
from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Checked, ToolError, View
from virc.reasoning.coordinates import resolve_index
from virc.tools import crop
from virc_zoo.pixel_reasoner.tools import crop_image_normalized

_MARGIN, _MOST = 0.1, 600  # of a side, and px

NAME = "crop_around"
TEMPLATE = "after_image"
CUTS = True
SCHEMA = crop.schema(NAME, "Look closer at a part of an image.", **crop_image_normalized.DIFFERING)
apply = crop.apply
"""The pixels inside the call's box."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the image counted from 0. Raises ToolError: there is none of that number."""
    number, count = arguments.get(INDEX), len(view.sizes)
    with suppress(TypeError, ValueError):
        number = int(number)  # type: ignore[arg-type]
    if type(number) is not int or not 1 <= number <= count:
        raise ToolError(f"there is no image {plain(number, 40)}; the images are 1 to {count}", "image", image=count)
    return {**arguments, INDEX: number - 1}


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the image counted from 1."""
    return {**arguments, INDEX: arguments[INDEX] + 1}


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call. Raises ToolError: wrong keys or types, no such image, no four numbers."""
    width, height = view.sizes[resolve_index(arguments.get(INDEX), view)[0]]
    margin = (min(_MARGIN, _MOST / width), min(_MARGIN, _MOST / height))
    return crop_image_normalized.checked(NAME, arguments, view, margin, int)
