"""Points in a picture: how far they are from each other, in which box they are, and how many places they name.

    from virc.scoring.points import apart_bonus, in_box

Points are (x, y) and boxes left, top, right, bottom, all in one unit, such as pixels of the first image's file.
"""

import math
from collections.abc import Sequence

from virc.scoring.boxes import Box

Point = tuple[float, float]


def distance(one: Point, other: Point) -> float:
    """The Euclidean distance of two points, in their unit."""
    return math.dist(one, other)


def in_box(point: Point, box: Box) -> float:
    """Whether a point is in a box, edges included: 1 or 0.

    Source: Gabesarch/grounded-rl, src/trainer/rl/examples/reward_function/point_in_bbox.py (ViGoRL).
    """
    (x, y), (left, top, right, bottom) = point, box
    return float(left <= x <= right and top <= y <= bottom)


def apart(points: Sequence[Point], min_distance: float = 10.0) -> list[Point]:
    """The points, in order, that are each at least so far from all that were kept before.

    Its time grows with the product of the points and those that are kept.
    """
    kept = list[Point]()
    for point in points:
        if all(math.dist(point, other) >= min_distance for other in kept):
            kept.append(point)
    return kept


def apart_bonus(points: Sequence[Point], min_distance: float = 10.0, each: float = 0.2) -> float:
    """A bonus for looking at different places: `each` for every point that is `apart`, but for the first.

    Args:
        points: where was looked, in order.
        min_distance: the least distance of two places, in the unit of the points; published in pixels.
        each: what a further place is worth.

    Source: Gabesarch/grounded-rl, src/trainer/rl/examples/reward_function/point_in_bbox_multicrop.py, format_reward,
    whose points are those of its tool calls (ViGoRL, arXiv:2505.23678).
    """
    return each * max(0, len(apart(points, min_distance)) - 1)
