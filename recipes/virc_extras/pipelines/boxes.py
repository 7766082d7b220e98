"""Boxes in replies, in pixels of the picture's file, and the parts of pictures in them."""

import re
from typing import get_args

from PIL import Image

from virc.core.errors import NoAnswerError
from virc.reasoning.calls import Box, ToolError, View
from virc.reasoning.coordinates import scale_box, settled_box, sides_of
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import Coordinates
from virc_extras.pipelines.speaking import Reply, ShownPicture
from virc_extras.pipelines.steps import Boxed, Made, MisuseError, Ran, here

_NUMBER = r"\s{0,20}(-?\d{1,20}(?:\.\d{1,20})?)\s{0,20}"
_LIST = rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]"
_CORNERS = rf"\({_NUMBER},{_NUMBER}\)\s{{0,20}},?\s{{0,20}}\({_NUMBER},{_NUMBER}\)"
_BOXES = re.compile(f"{_LIST}|{_CORNERS}")


def boxes(reply: Reply, unit: Coordinates, image: int = 0, step: str = "boxes") -> list[Boxed]:
    """Return the boxes in a reply, in pixels of the file of the picture that they are about.

    A box is `[left, top, right, bottom]`, also inside JSON, or `(left, top), (right, bottom)`.

    Args:
        unit: what they are counted in: pixels of the picture as the role was shown it (`pixel`) or of its file
            (`original`), thousandths (`permille`, to 999; `thousand`, to 1000), or fractions (`unit`).
        image: which of the pictures that the role was shown they are about, from 0.

    Raises:
        ValueError: there is no such unit.
        NoAnswerError: there is no such picture, or a box is counted in another unit or has no pixel.
    """
    if unit not in (units := get_args(Coordinates)):
        raise MisuseError(f"{unit!r} is no unit of boxes; units are {', '.join(units)}")
    branch = here()
    place = branch.next()
    written = [[float(each) for each in found.groups() if each is not None] for found in _BOXES.finditer(reply)]
    if (written or branch.run.is_dry) and image >= len(reply.seen):
        raise NoAnswerError(f"boxes are about picture {image}, and the role was shown {len(reply.seen)}")
    if branch.run.is_dry:
        whole = reply.seen[image].picture
        found = [Boxed(whole, (0, 0, *whole.size))]
    else:
        found = [Boxed(reply.seen[image].picture, _in_file(each, unit, reply.seen[image])) for each in written]
    branch.run.add(place, Ran(name=step, kind="boxes", output=tuple(map(str, found))), Made(boxes=tuple(found)))
    return found


def crop(box: Boxed, margin: float = 0.0, step: str = "crop") -> OpenedImage:
    """Return the part of its picture in a box, which grows by `margin` of its sides within the picture first."""
    branch, part = here(), OpenedImage(_cut(box, margin))
    branch.run.add(branch.next(), Ran(name=step, kind="crop"), Made((part,), (box,)))
    return part


def _in_file(written: list[float], unit: Coordinates, seen: ShownPicture) -> Box:
    view = View([seen.size], coordinates=unit, originals=[seen.picture.size], float_boxes=True)
    try:
        corners = settled_box(written, view, 0)
    except ToolError as error:
        raise NoAnswerError(str(error).replace("bbox_2d", "box"), "`unit` says what it is counted in") from None
    sides, size = sides_of(seen.size, unit, seen.picture.size), seen.picture.size
    inside = [min(max(corner, 0), side) for corner, side in zip(corners, sides * 2, strict=True)]
    left, top, right, bottom = scale_box(inside, sides, size)
    if left >= right or top >= bottom:
        raise NoAnswerError(f"box {written} holds no pixel of a picture of {size[0]} x {size[1]}")
    return left, top, right, bottom


def _cut(boxed: Boxed, margin: float) -> Image.Image:
    left, top, right, bottom = boxed.box
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    width, height = boxed.picture.size
    grown = (max(0, left - across), max(0, top - down), min(width, right + across), min(height, bottom + down))
    return boxed.picture.pixels.crop(grown)
