"""Types that drawn problems of every family share; points and boxes on a page, in px, x right and y down."""

import hashlib
import math
from typing import Literal

import msgspec

from virc.reasoning.calls import Box

Split = Literal["train", "heldout"]
Difficulty = Literal["easy", "hard"]
Drawing = Literal[1, 2]
"""What problems are about: 1 asks for one printed angle in five, and refuses questions without sense."""
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "hard")
LARGEST = 448 * 448
"""Area of the largest picture that is shown as it is, px."""

Point = tuple[float, float]
GRID = 14  # px, windows start on this grid


class Label(msgspec.Struct, frozen=True):
    """A text on the page and the box of its ink, px."""

    text: str
    box: Box


def split_of(key: str) -> Split:
    """The split of a problem whose labels and question are `key`: one in ten is held out."""
    return "heldout" if hashlib.sha256(key.encode()).digest()[0] % 10 == 0 else "train"


def unit(origin: Point, target: Point) -> Point:
    """The direction from one point to another, of length 1 (0 where they are the same)."""
    dx, dy = target[0] - origin[0], target[1] - origin[1]
    length = math.hypot(dx, dy) or 1.0
    return dx / length, dy / length


def around(middle: Point, size: tuple[int, int]) -> Box:
    left, top = round(middle[0] - size[0] / 2), round(middle[1] - size[1] / 2)
    return left, top, left + size[0], top + size[1]


def meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] + 1 and b[0] < a[2] + 1 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def inside(inner: Box, outer: Box) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def window(label: Box, size: tuple[int, int], page: tuple[int, int]) -> Box:
    """A box of `size` around a label, on the GRID, inside a page of that width and height."""
    left, top, right, bottom = label
    x = round(((left + right) / 2 - size[0] / 2) / GRID) * GRID
    y = round(((top + bottom) / 2 - size[1] / 2) / GRID) * GRID
    x, y = max(0, min(page[0] - size[0], x)), max(0, min(page[1] - size[1], y))
    return x, y, x + size[0], y + size[1]


def moved_box(box: Box, label: Box, page: tuple[int, int]) -> Box:
    """Another box of that size that holds the label: a step of the GRID away; the same where none does."""
    for dx, dy in ((GRID, 0), (-GRID, 0), (0, GRID), (0, -GRID)):
        moved = box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy
        if inside(label, moved) and inside(moved, (0, 0, *page)):
            return moved
    return box
