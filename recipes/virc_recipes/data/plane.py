"""Points and boxes on a page, in px, x right and y down."""

import math

from virc_recipes.tools.base import Box

Point = tuple[float, float]


def unit(origin: Point, target: Point) -> Point:
    """The direction from one point to another, of length 1 (0 where they are the same)."""
    dx, dy = target[0] - origin[0], target[1] - origin[1]
    length = math.hypot(dx, dy) or 1.0
    return dx / length, dy / length


def around(middle: Point, size: tuple[int, int]) -> Box:
    """The box of a size around a point."""
    left, top = round(middle[0] - size[0] / 2), round(middle[1] - size[1] / 2)
    return left, top, left + size[0], top + size[1]


def meet(a: Box, b: Box) -> bool:
    """Whether two boxes overlap or touch."""
    return a[0] < b[2] + 1 and b[0] < a[2] + 1 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def inside(inner: Box, outer: Box) -> bool:
    """Whether one box lies in another, edges included."""
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]
