"""`crop_observation`: cut a box out of an image that is called by its name: the question's, or an observation.

Source: Mini-o3/Mini-o3, verl/utils/function_tools.py: the names, and what is said of one that there is not.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import ToolError, View
from virc.tools import crop

_QUESTION = "original_image"
_MAX_SHOWN = 60

NAME = "crop_observation"
TEMPLATE = "after_image"
CUTS = True
_NAMED = {"type": "string", "description": "original_image, observation_1 and so on"}
SCHEMA = crop.schema(NAME, "Cut a box out of an image and look at it alone.", **{INDEX: _NAMED})

apply = crop.apply
"""The pixels inside the call's box."""
check = partial(crop.check, name=NAME)
"""Read a call whose image is a number."""


def read(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the number of the image for its name. Raises ToolError: there is none of that name."""
    if INDEX not in arguments:
        return dict(arguments)
    name, known = arguments[INDEX], [_name(index, view) for index in range(len(view.sizes))]
    if name not in known:
        shown = str(name)[:_MAX_SHOWN]
        reason = f"there is no image {shown!r}; there are: {', '.join(dict.fromkeys(known))}"
        raise ToolError(reason, "image", image=shown)
    return {**arguments, INDEX: known.index(name)}


def write(arguments: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The arguments with the name of the image for its number."""
    return {**arguments, INDEX: _name(arguments[INDEX], view)}


def _name(index: int, view: View) -> str:
    return _QUESTION if index < view.given else f"observation_{index - view.given + 1}"
