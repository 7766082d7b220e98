"""How far two paths in a picture are from each other; a path is its points in order.

    from virc_zoo.paths import frechet, oriented

    near = 1 - min(1.0, frechet(said, right, oriented) / longest)

Points are (x, y) in any one unit, such as pixels or shares of the sides, and distances are in that unit. A path without
a point raises a ValueError.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

Point = tuple[float, float]
Path = Sequence[Point]
Costs = Sequence[Sequence[float]]
"""What it costs to match a point of one path with one of the other: a row for each point of the first."""

_ZERO = 1e-12
"""A segment that is not longer has no direction."""


def frechet(one: Path, other: Path, costs: Callable[[Path, Path], Costs] | None = None) -> float:
    """The discrete Fréchet distance: the longest leash that two need who walk both paths, from point to point.

    With c the costs, by default the distances of points, it is the last of
    `d[i][j] = max(c[i][j], min(d[i-1][j], d[i-1][j-1], d[i][j-1]))`. Its time grows with the product of both lengths.

    Args:
        one: a path.
        other: a path in the same unit.
        costs: such as `oriented`; None for `distances`.

    Source: Eiter and Mannila, Computing discrete Fréchet distance (1994); so GigaAI-research/VLA-R1,
    RFT_training/train_utils/robot_bbox_traj_norm.py.
    """
    rows = iter((costs or distances)(_some(one), _some(other)))
    reached = [*accumulate(next(rows), max)]
    for row in rows:
        left = math.inf
        nearest = [reached[0], *map(min, pairwise(reached))]
        reached = [left := max(cost, min(left, before)) for cost, before in zip(row, nearest, strict=True)]
    return reached[-1]


def distances(one: Path, other: Path) -> Costs:
    """The distance of each point of one path to each of the other."""
    return [[math.dist(point, beside) for beside in other] for point in one]


def oriented(one: Path, other: Path, angle: float = 0.25, length: float = 0.1) -> Costs:
    """The distances of points, and what their segments differ by: `distance + angle * turn + length * |log(a / b)|`.

    `turn` is the angle between the directions of both paths at the points, 0 to pi; within a path the direction is the
    mean of that from the point before and that to the next one. a and b are the lengths of the segments that begin
    there, at the last point of the one that ends there. A point without a segment has no direction and costs no turn.

    Args:
        one: a path.
        other: a path in the same unit.
        angle: what a radian costs, in that unit.
        length: what it costs that one segment is e times as long, in that unit.

    Source: GigaAI-research/VLA-R1, RFT_training/train_utils/robot_bbox_traj_norm.py, _os_discrete_frechet, where points
    are shares of the sides.
    """
    (turns, lengths), (turns_beside, lengths_beside) = _segments(one), _segments(other)
    return [
        [
            math.dist(one[i], other[j])
            + angle * _angle(turns[i], turns_beside[j])
            + length * _log_ratio(lengths[i], lengths_beside[j])
            for j in range(len(other))
        ]
        for i in range(len(one))
    ]


def _some(path: Path) -> Path:
    if not path:
        raise ValueError("a path has no points")
    return path


def _segments(path: Path) -> tuple[list[Point], list[float]]:
    """The direction of a path at each of its points, and the length of the segment there."""
    steps = [(x - before_x, y - before_y) for (before_x, before_y), (x, y) in pairwise(path)]
    if not steps:
        return [(0.0, 0.0)], [0.0]
    units = [*map(_unit, steps)]
    within = [_between(*pair) for pair in pairwise(units)]
    lengths = [math.hypot(*step) for step in steps]
    return [units[0], *within, units[-1]], [*lengths, lengths[-1]]


def _unit(step: Point) -> Point:
    length = math.hypot(*step)
    return (0.0, 0.0) if length < _ZERO else (step[0] / length, step[1] / length)


def _between(before: Point, behind: Point) -> Point:
    """The direction between two; the first of them where they are opposite."""
    middle = (before[0] + behind[0], before[1] + behind[1])
    return before if math.hypot(*middle) < _ZERO else _unit(middle)


def _angle(one: Point, other: Point) -> float:
    """Between two directions, 0 to pi; 0 where one is none."""
    if not any(one) or not any(other):
        return 0.0
    return abs(math.atan2(one[0] * other[1] - one[1] * other[0], one[0] * other[0] + one[1] * other[1]))


def _log_ratio(one: float, other: float) -> float:
    """|log| of how many times as long one of two lengths is."""
    added = 0.0 if min(one, other) > _ZERO else _ZERO
    return abs(math.log((one + added) / (other + added)))
