"""What steps hand over: texts, pictures and boxes, each also several."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from PIL import Image

from virc.core.errors import NoAnswerError
from virc.reasoning.calls import Box, Size, ToolError, View
from virc.reasoning.coordinates import scale_box, settled_box, sides_of
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import Coordinates

if TYPE_CHECKING:
    from virc.sandbox.pool import Given, Past

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_LIST = rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]"
_CORNERS = rf"\({_NUMBER},{_NUMBER}\)\s*,?\s*\({_NUMBER},{_NUMBER}\)"
_BOXES = re.compile(f"{_LIST}|{_CORNERS}")


class Seen(msgspec.Struct, frozen=True):
    """A picture, and its (width, height) in pixels as a role was shown it."""

    picture: OpenedImage
    size: Size


class Boxed(msgspec.Struct, frozen=True):
    """A box (left, top, right, bottom) in pixels of the file of a picture."""

    picture: OpenedImage
    box: Box


class Turn(msgspec.Struct, frozen=True):
    """What a role was sent, with the position in the text that each picture stands before, and its reply."""

    prompt: str
    pictures: tuple[OpenedImage, ...] = ()
    at: tuple[int, ...] = ()
    reply: str | None = None


class Session(msgspec.Struct, frozen=True):
    """An interpreter of several steps: what ran in it, and the images that it was given, in order."""

    past: "Past"
    given: tuple["Given", ...] = ()


class Value(msgspec.Struct, frozen=True):
    """The output of a step; of one that was skipped, nothing.

    Args:
        seen: what the role that wrote the texts was shown, in that order.
        turns: the conversation with that role, the first text its last reply.
        session: the interpreter of its code, as that left it.
    """

    texts: tuple[str, ...] = ()
    pictures: tuple[OpenedImage, ...] = ()
    boxes: tuple[Boxed, ...] = ()
    seen: tuple[Seen, ...] = ()
    turns: tuple[Turn, ...] = ()
    session: Session | None = None


NOTHING = Value()
Values = Mapping[str, Value]
"""Name -> that value."""


def boxes_in(value: Value, unit: Coordinates, image: int) -> Value:
    """The boxes in the texts of a value, of whose pictures number `image` they are about.

    A box is `[left, top, right, bottom]`, also inside JSON, or `(left, top), (right, bottom)`.

    Raises:
        NoAnswerError: there is no such picture, or a box is counted in another unit or holds no pixel.
    """
    written = [each for text in value.texts for each in _written(text)]
    if not written:
        return NOTHING
    if image >= len(value.seen):
        raise NoAnswerError(f"boxes are about picture {image}, and the role was shown {len(value.seen)}")
    seen = value.seen[image]
    boxes = tuple(Boxed(seen.picture, _in_file(each, unit, seen)) for each in written)
    return Value(tuple(str(list(each.box)) for each in boxes), boxes=boxes)


def _written(text: str) -> Iterator[list[float]]:
    for found in _BOXES.finditer(text):
        yield [float(number) for number in found.groups() if number is not None]


def _in_file(written: list[float], unit: Coordinates, seen: Seen) -> Box:
    view = View([seen.size], coordinates=unit, originals=[seen.picture.size], float_boxes=True)
    try:
        corners = settled_box(written, view, 0)
    except ToolError as error:
        raise NoAnswerError(
            str(error).replace("bbox_2d", "box"), "the step's `unit` says what it is counted in"
        ) from None
    sides, size = sides_of(seen.size, unit, seen.picture.size), seen.picture.size
    inside = [min(max(corner, 0), side) for corner, side in zip(corners, sides * 2, strict=True)]
    left, top, right, bottom = scale_box(inside, sides, size)
    if left >= right or top >= bottom:
        raise NoAnswerError(f"box {written} holds no pixel of a picture of {size[0]} x {size[1]}")
    return left, top, right, bottom


def cropped(value: Value, margin: float) -> Value:
    """The parts of their pictures in the boxes of a value, each grown by `margin` of its sides, within the picture."""
    return Value(pictures=tuple(OpenedImage(_cut(each, margin)) for each in value.boxes))


def _cut(boxed: Boxed, margin: float) -> Image.Image:
    left, top, right, bottom = boxed.box
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    width, height = boxed.picture.size
    grown = (max(0, left - across), max(0, top - down), min(width, right + across), min(height, bottom + down))
    return boxed.picture.pixels.crop(grown)
