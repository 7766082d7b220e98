"""`crop_region`: cut out a box that is written as text: four numbers in square brackets.

Source: zhangquanchen/VisRL@04bb8f3, extras/test_cot.py.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from virc.reasoning.bodies import BOX
from virc.reasoning.calls import View
from virc.reasoning.coordinates import numbers_in
from virc.tools import crop

NAME = "crop_region"
TEMPLATE = "after_image"
CUTS = True
_TEXT = {"type": "string", "description": "left, top, right, bottom in {unit}"}
SCHEMA = crop.schema(NAME, "Cut a box out of an image and look at it alone.", **{BOX: _TEXT})

apply = crop.apply
"""The pixels inside the call's box."""
check = partial(crop.check, name=NAME)
"""Read a call whose box is a list."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as a list; any other text than four numbers stays."""
    box = arguments.get(BOX)
    return {**arguments, BOX: numbers_in(box)} if isinstance(box, str) else dict(arguments)


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the box as the text between its brackets."""
    return {**arguments, BOX: ", ".join(map(str, arguments[BOX]))}
