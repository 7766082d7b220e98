"""Boxes and indices as a model writes them, turned into pixels and positions in the history."""

from collections.abc import Sequence

from virc_recipes.reasoning.protocol import Coordinates
from virc_recipes.tools.base import Box, Size, ToolError

PERMILLE = 999


def resolve_index(value: object, count: int) -> tuple[int, tuple[str, ...]]:
    """The position in a history of `count` images that a written `image_index` means.

    Returns:
        The index, 0 <= index < count, and the deviations: `index_negative` where it was counted from the end.

    Raises:
        ToolError: it is no whole number (a boolean is none), or there is no such image.
    """
    if type(value) is not int:
        raise ToolError(f"image_index is {_short(value)}, not a whole number")
    if not -count <= value < count:
        raise ToolError(f"image_index is {_short(value)}, but the images are 0 to {count - 1}")
    return (value, ()) if value >= 0 else (value + count, ("index_negative",))


def resolve_box(value: object, size: Size, coordinates: Coordinates) -> tuple[Box, tuple[str, ...]]:
    """The pixels of an image of `size` (width, height) that a written `bbox_2d` means.

    In permille a coordinate c is round(c / 999 * side) pixels (ties to even).

    Returns:
        The box (left, top, right, bottom) inside the image, and `box_clamped` where it was not inside.

    Raises:
        ToolError: it is not four whole numbers, or holds no pixel.
    """
    if not isinstance(value, list) or len(value) != 4 or any(type(side) is not int for side in value):
        raise ToolError(f"bbox_2d is {_short(value)}, not four whole numbers")
    sides = sides_of(size, coordinates)
    inside = [min(max(side, 0), limit) for side, limit in zip(value, sides * 2, strict=True)]
    box = inside if coordinates == "pixel" else scale_box(inside, sides, size)
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise ToolError(f"bbox_2d {_short(value)} holds no pixel of an image of {size[0]} x {size[1]}")
    return (left, top, right, bottom), () if inside == value else ("box_clamped",)


def sides_of(size: Size, coordinates: Coordinates) -> Size:
    """What boxes of an image of `size` (width, height) px are counted in: its pixels, or 999 for each side."""
    return size if coordinates == "pixel" else (PERMILLE, PERMILLE)


def scale_box(box: Sequence[int], sides: Size, onto: Size) -> list[int]:
    """A box counted in `sides`, counted in `onto`: c becomes round(c / side * onto), ties to even.

    From pixels to permille and back every box is the same where no side is over 999 px; on a longer side a coordinate
    comes back up to side / 1998 px from where it was (that number rounded).
    """
    return [round(c / side * other) for c, side, other in zip(box, sides * 2, onto * 2, strict=True)]


def _short(value: object) -> str:
    """A value as it stands in a sentence; whatever a model wrote, it stays one short line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to print integers of thousands of digits
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
