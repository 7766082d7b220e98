"""`zoom_image`: cut a box out of an image and enlarge it, the more the smaller it is.

The rule is that of VLM-R3 (github.com/justgogorunrun/VLM-R3, src/model/r3_vllm.py): sides are doubled where the box has
less than an eighth of the image's area, kept from a half on, and between the two the factor falls on a line.
"""

from functools import partial

import msgspec
from PIL import Image

from virc.reasoning.calls import Box, Call, Size
from virc.reasoning.resample import Rescaled
from virc.tools import crop

_SMALL, _LARGE = 0.125, 0.5

NAME = "zoom_image"
TEMPLATE = "after_image"
CUTS = True
SCHEMA = crop.schema(NAME, "Cut a box out of an image and look at it enlarged.")

check = partial(crop.check, name=NAME)
"""Read a call, which is written as one of `crop_image`."""


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box, each side int(side * enlargement) long."""
    cut = crop.apply(call, source)
    assert call.box is not None
    factor = enlargement(call.box, source.size)
    width, height = (int(side * factor) for side in cut.size)
    return msgspec.structs.replace(cut, size=(width, height))


def enlargement(box: Box, size: Size) -> float:
    """How many times as long the sides of a box (left, top, right, bottom) of an image of `size` (width, height)
    become, from 1 to 2; all in pixels.
    """
    left, top, right, bottom = box
    share = (right - left) * (bottom - top) / (size[0] * size[1])
    inside = min(max(share, _SMALL), _LARGE)
    return 2 - (inside - _SMALL) / (_LARGE - _SMALL)
