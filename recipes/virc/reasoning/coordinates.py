"""Boxes and indices as a model writes them, turned into pixels and positions in the history.

`counted_in` says what the sides of an image are in the unit that the model counts in (1000 in thousandths, say).
"""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from virc.reasoning.bodies import FormatError, decoded
from virc.reasoning.calls import Box, Point, Region, Size, ToolError, View
from virc.reasoning.grammar import Index
from virc.reasoning.protocol import BoxForm, Coordinates, ErrorKind
from virc.reasoning.resize import MAX_ASPECT, too_long

PERMILLE = 999
_FAR = 10**9  # to which coordinates are limited before they are calculated with
_MAX_OVER, _MAX_OVER_PIXELS = 0.05, 28
"""How far outside of the image a coordinate of a stock model may be before its unit is doubted: a part of the side, or
pixels. In a picture of about a thousand pixels a side, boxes in pixels and in thousandths look alike.
"""
NAMED_SIDES = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
"""Names of the sides of a box that is written as an object."""
_SIDES: dict[Coordinates, Size] = {"permille": (PERMILLE, PERMILLE), "thousand": (1000, 1000), "unit": (1, 1)}


class UnitError(ToolError):
    """A box is counted in another unit than its model was taken to count in."""


def resolve_index(value: object, images: View | int) -> tuple[int, tuple[str, ...]]:
    """The position in the history of images that a written `image_index` means.

    Args:
        value: a number.
        images: those shown, or how many they are.

    Returns:
        The index, 0 <= index < count, and the deviations: `index_negative` where it was counted from the end.

    Raises:
        ToolError: it is no whole number (a boolean is none), or there is no such image; the newest, which a grammar
            gives, there always is.
    """
    view = images if isinstance(images, View) else View([(1, 1)] * images, inputs=images)
    if not view.sizes:
        raise ToolError("there is no image yet", "image", image="last" if value is Index.LAST else _short(value))
    count = len(view.sizes) if view.index_counts == "all" else view.given
    if value is Index.LAST:
        return len(view.sizes) - 1, ()
    if type(value) is not int:
        raise ToolError(f"image_index is {_short(value)}, not a whole number", "image", image=_short(value))
    if not -count <= value < count:
        raise ToolError(f"image_index is {_short(value)}, but the images are 0 to {count - 1}", "image", image=value)
    return (value, ()) if value >= 0 else (value + count, ("index_negative",))


def resolve_box(value: object, view: View, index: int) -> tuple[Box, tuple[str, ...]]:
    """The pixels of an image that a written `bbox_2d` means.

    A coordinate c of a side of s counts is round(c * pixels / s) pixels, ties to even.

    Args:
        value: four whole numbers, or any numbers of `unit` and where the view says so: left, top, right, bottom, or as
            the view says centre x and y, width, height.
        view: the images, and what boxes are counted in.
        index: which of them.

    Returns:
        The box (left, top, right, bottom) in pixels of the image as shown, and `box_clamped` where it was not inside.

    Raises:
        ToolError: it is not four such numbers, holds no pixel, or is over 200 times as long as wide.
    """
    size = view.sizes[index]
    corners, inside, sides = clamped(value, view, index)
    left, top, right, bottom = scale_box(inside, sides, size)
    if view.crops == "file":  # what is less than a pixel as shown may be more in the file
        left, right = _at_least_one_pixel(left, right, inside[0] < inside[2], size[0])
        top, bottom = _at_least_one_pixel(top, bottom, inside[1] < inside[3], size[1])
    if left >= right or top >= bottom:
        kind: ErrorKind = "no_width" if left >= right else "no_height"
        values: dict[str, Any] = dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True))
        values |= {"box": _short(value), "width": size[0], "height": size[1]}
        values["pixels"] = _in_pixels(corners, sides, _size_of_crop_source(view, index))
        raise ToolError(f"bbox_2d {_short(value)} holds no pixel of an image of {size[0]} x {size[1]}", kind, **values)
    width, height = right - left, bottom - top
    if too_long(width, height):
        reason = f"one side of the box of {width} x {height} px is over {MAX_ASPECT} times the other"
        raise ToolError(reason, "long", ratio=max(width, height) / min(width, height))
    return (left, top, right, bottom), () if inside == corners else ("box_clamped",)


def resolve_point(value: object, view: View, index: int) -> Point:
    """The pixel of an image that a written point means: x and y in the unit of boxes.

    Args:
        value: two numbers; one on the right or lower edge of the image is its last pixel.
        view: the images, and what points are counted in.
        index: which of them.

    Raises:
        ToolError: it is not two numbers, or outside of the image.
    """
    if not isinstance(value, list) or len(value) != 2 or not all(_is_number(each) for each in value):
        raise ToolError(f"the point {_short(value)} is not two numbers", "numbers")
    size = view.sizes[index]
    sides = counted_in(view, index)
    if not all(0 <= at <= side for at, side in zip(value, sides, strict=True)):
        raise ToolError(f"the point {_short(value)} is outside of the image of {sides[0]} x {sides[1]}")
    x, y = (min(int(at * pixels / side), pixels - 1) for at, pixels, side in zip(value, size, sides, strict=True))
    return x, y


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _size_of_crop_source(view: View, index: int) -> Size:
    return view.originals[index] if view.crops == "file" and index < len(view.originals) else view.sizes[index]


def _in_pixels(corners: Sequence[float], sides: Size, onto: Size) -> list[int]:
    """A box in pixels of `onto`, rounded down, and cut off where it starts before the image or ends after it."""
    left, top, right, bottom = (min(max(corner, -_FAR), _FAR) for corner in corners)
    starts = (int(max(0, low) * pixels / side) for low, pixels, side in zip((left, top), onto, sides, strict=True))
    scaled_ends = (high * pixels / side for high, pixels, side in zip((right, bottom), onto, sides, strict=True))
    ends = (int(min(end, pixels)) for end, pixels in zip(scaled_ends, onto, strict=True))
    return [*starts, *ends]


def _at_least_one_pixel(start: int, end: int, has_length: bool, side: int) -> tuple[int, int]:
    if end > start or not has_length:
        return start, end
    start = min(start, side - 1)
    return start, start + 1


def resolve_region(value: object, view: View, index: int) -> Region:
    _, inside, sides = clamped(value, view, index)
    return parts_of(inside, sides)


def parts_of(box: Sequence[float], size: Size) -> Region:
    """A box in pixels as shares of the sides of its image."""
    left, top, right, bottom = (number / side for number, side in zip(box, size * 2, strict=True))
    return left, top, right, bottom


def clamped(value: object, view: View, index: int) -> tuple[list[float], list[float], Size]:
    """A written `bbox_2d` in the unit of the view: as left, top, right, bottom; the same, limited to its image; and the
    width and height of that. Raises ToolError: it is not four numbers.
    """
    corners = list(corners_of(_numbers(value, view.float_boxes or view.coordinates == "unit"), view.box))
    sides = counted_in(view, index)
    return corners, [min(max(side, 0), limit) for side, limit in zip(corners, sides * 2, strict=True)], sides


def settled_box(value: object, view: View, index: int) -> list[float]:
    """A box of a stock model in a form that `resolve_box` takes: fractions of a pixel or of a thousandth are rounded.

    Raises:
        ToolError: it is not four numbers.
        UnitError: it is in another unit than the view says: all of it is between 0 and 1, or it reaches far outside of
            the image.
    """
    written = _numbers(value, floats=True)
    if view.coordinates == "unit":
        return written
    if all(0 <= side <= 1 for side in written):
        raise UnitError(f"bbox_2d {_short(value)} is in fractions of the image, not in {view.coordinates}")
    sides, corners = counted_in(view, index), corners_of(written, view.box)
    over = max(corner - limit for corner, limit in zip(corners, sides * 2, strict=True))
    is_in_pixels = sides not in _SIDES.values()
    allowed = max(_MAX_OVER_PIXELS, max(sides) / 50) if is_in_pixels else _MAX_OVER * max(sides)
    inside = [min(max(corner, 0), limit) for corner, limit in zip(corners, sides * 2, strict=True)]
    lies_outside = any(inside[low] >= inside[low + 2] and corners[low] < corners[low + 2] for low in (0, 1))
    if over > allowed or lies_outside:
        counted = f"{view.coordinates}: {sides[0]} x {sides[1]}"
        raise UnitError(f"bbox_2d {_short(value)} reaches far outside of image {index} as counted in {counted}")
    return written if view.float_boxes else [round(side) for side in written]


def corners_of(box: Sequence[float], form: BoxForm) -> Sequence[float]:
    """Left, top, right, bottom of a box that is written in a form."""
    if form == "center":  # what is far outside comes nearer
        x, y, width, height = (min(max(number, -_FAR), _FAR) for number in box)
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return [box[1], box[0], box[3], box[2]] if form == "corners_yx" else box


def written_as(box: Sequence[float], form: BoxForm) -> Sequence[float]:
    """A box of left, top, right, bottom in the form that it is written in: what `corners_of` reads."""
    if form == "center":
        left, top, right, bottom = box
        return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    return [box[1], box[0], box[3], box[2]] if form == "corners_yx" else box


def sides_of(size: Size, coordinates: Coordinates, original: Size | None = None) -> Size:
    """What boxes of an image of `size` (width, height) px are counted in: its pixels, those of its file, or parts of
    each side.

    Args:
        original: (width, height) in px of its file, where it is one.
    """
    return (original or size) if coordinates == "original" else _SIDES.get(coordinates, size)


def counted_in(view: View, index: int) -> Size:
    return sides_of(view.sizes[index], view.coordinates, view.originals[index] if index < len(view.originals) else None)


def scale_box(box: Sequence[float], sides: Size, onto: Size) -> list[int]:
    """A box counted in `sides`, counted in `onto`: c becomes round(c * onto / side), ties to even.

    From pixels to permille and back every box is the same where no side is over 999 px; on a longer side a coordinate
    comes back up to side / 1998 px from where it was (that number rounded).
    """
    return [round(c * other / side) for c, side, other in zip(box, sides * 2, onto * 2, strict=True)]


def numbers_in(text: str) -> object:
    """The box that a text says, as JSON or as four numbers in any brackets; else the text."""
    with suppress(FormatError):
        return decoded(text.strip(), whole=True)
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text[:200])
    return [float(each) if "." in each else int(each) for each in numbers] if len(numbers) == 4 else text


def _numbers(value: object, floats: bool) -> list[float]:
    kinds = (int, float) if floats else (int,)
    if not isinstance(value, list) or len(value) != 4 or any(type(side) not in kinds for side in value):
        raise ToolError(
            f"bbox_2d is {_short(value)}, not four {'' if floats else 'whole '}numbers", "numbers", box=_short(value)
        )
    if floats and not all(map(math.isfinite, value)):
        raise ToolError(f"bbox_2d is {_short(value)}, not four numbers", "numbers", box=_short(value))
    return value


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to print integers of thousands of digits
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
