"""`zoomin_action`: cut a box out of an image, at least a tenth of its sides, and stretch it to the size of the image,
so that a box of other sides is distorted.

Source: OpenDCAI/vts-v@9137312, src/tools.py, zoom_in_image_by_bbox.
"""

from functools import partial

from PIL import Image

from virc.reasoning.calls import Call
from virc.reasoning.resample import Rescaled
from virc.tools import crop
from virc_zoo.vts_v.tools import crop_action

_PARTS = 10  # a tenth of the image's side is the least

NAME = "zoomin_action"
TEMPLATE = "after_image"
SCHEMA = crop.schema(
    NAME, "Cut a box out of an image and look at it as large as the whole image was.", **crop_action.DIFFERING
)
read, write = crop_action.read, crop_action.write
check = partial(crop.check, name=NAME, margin=crop_action.MARGIN)
"""Read a call whose box is a list."""


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The pixels inside the call's box, and around it where it is short, at the size of their image."""
    assert call.box is not None
    (left, right), (top, bottom) = (_widened(call.box[at], call.box[at + 2], source.size[at]) for at in (0, 1))
    return Rescaled(source, source.size, (left, top, right, bottom))


def _widened(start: int, end: int, side: int) -> tuple[int, int]:
    """A part of a side, around its middle at least a tenth of that; all in pixels."""
    least = side / _PARTS
    if end - start >= least:
        return start, end
    middle = (start + end) / 2
    return round(max(0, middle - least / 2)), round(min(side, middle + least / 2))
