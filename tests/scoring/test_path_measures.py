"""Distances of paths and points: by hand, against the published functions, and against their definitions."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.scoring.paths import Point, distances, end_distance, frechet, hausdorff, mean_distance, oriented, resampled
from virc.scoring.points import apart, apart_bonus, distance, in_box

PUBLISHED = Path(__file__).parent / "published"
RIGHT = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]
PATHS = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=7)


def cases(name: str) -> list[Any]:
    found: list[Any] = json.loads((PUBLISHED / f"{name}.json").read_bytes())["cases"]
    assert len(found) >= 400
    return found


def test_oriented_costs_are_those_by_hand() -> None:
    up = [(0.0, 0.0), (0.0, math.e)]  # a right angle, and e times as long as each segment of RIGHT
    assert oriented(RIGHT, up)[0] == pytest.approx([0.25 * math.pi / 2 + 0.1, math.e + 0.25 * math.pi / 2 + 0.1])
    assert oriented(RIGHT, RIGHT[::-1], angle=1, length=5)[1][1] == pytest.approx(math.pi)
    corner = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]  # the middle goes half way between right and up
    assert oriented(RIGHT, corner, angle=1)[1][1] == pytest.approx(math.pi / 4)
    assert oriented([(0, 0), (1, 0), (0, 0)], RIGHT, angle=1)[1][1] == 0  # it turns back: the way there counts
    assert oriented([(3, 4)], [(0, 0)]) == [[5]]


def test_published_path_distances_are_ours() -> None:
    for one, other, plain, published, heavier in cases("paths"):
        assert frechet(one, other) == pytest.approx(plain, abs=1e-9)
        assert frechet(one, other, oriented) == pytest.approx(published, abs=1e-6)
        assert frechet(one, other, lambda *pair: oriented(*pair, angle=1, length=0.5)) == pytest.approx(
            heavier, abs=1e-6
        )


def test_published_point_measures_are_ours() -> None:
    for points, bonus, point, box, inside in cases("points"):
        assert apart_bonus(points) == pytest.approx(bonus, abs=1e-9)
        assert in_box(point, box) == inside


@given(PATHS, PATHS)
def test_hausdorff_is_the_farthest_of_the_nearest(one: list[Point], other: list[Point]) -> None:
    table = distances(one, other)
    nearest = [*map(min, table), *map(min, zip(*table, strict=True))]
    assert hausdorff(one, other) == pytest.approx(max(nearest))
    assert hausdorff(one, other) <= frechet(one, other) + 1e-9


def test_resampled_points_are_those_by_hand() -> None:
    corner = [(0.0, 0.0), (0.0, 0.0), (2.0, 0.0), (2.0, 4.0)]  # 6 long
    assert resampled(corner, 4) == [(0, 0), (2, 0), (2, 2), (2, 4)]
    assert resampled([(3, 4)], 2) == [(3, 4), (3, 4)]


def test_paths_that_cannot_be_compared_raise() -> None:
    for measure in (frechet, hausdorff, mean_distance, end_distance):
        with pytest.raises(ValueError, match="no points"):
            measure([], RIGHT)
        with pytest.raises(ValueError, match=r"no points"):
            measure(RIGHT, [])
    with pytest.raises(ValueError, match="3 and 2 points"):
        mean_distance(RIGHT, RIGHT[:2])
    with pytest.raises(ValueError, match="resampled to 1"):
        resampled(RIGHT, 1)


@pytest.mark.parametrize(
    ("other", "farthest", "mean", "end", "leash"),
    [
        (RIGHT, 0, 0, 0, 0),
        ([(0, 1), (1, 1), (2, 1)], 1, 1, 1, 1),  # beside it
        ([(2, 0), (1, 0), (0, 0)], 0, 4 / 3, 2, 2),  # the other way: the same points, both walkers far apart
        ([(0, 0), (1, 3), (2, 4)], 4, 7 / 3, 4, 4),  # 0, 3 and 4 above it
    ],
)
def test_distances_of_paths_are_those_by_hand(
    other: Sequence[Point], farthest: float, mean: float, end: float, leash: float
) -> None:
    found = hausdorff(RIGHT, other), mean_distance(RIGHT, other), end_distance(RIGHT, other), frechet(RIGHT, other)
    assert found == pytest.approx((farthest, mean, end, leash))


def test_a_walker_may_wait_at_a_point() -> None:
    assert distances(RIGHT, [(0, 0)]) == [[0], [1], [2]]  # a row for each point of the first
    assert frechet([(0, 0)], RIGHT) == 2
    assert frechet([(0, 0), (2, 0)], RIGHT) == 1  # one waits at either end while the other goes by the middle
    assert frechet(RIGHT, [(0, 0), (2, 0), (0, 0), (2, 0)]) == 1  # back to (1, 0) at the most


@given(PATHS.filter(lambda path: len(path) > 1), st.integers(2, 9))
def test_resampled_points_keep_equal_ways(path: list[Point], count: int) -> None:
    found = resampled(path, count)
    assert len(found) == count
    assert found[0] == pytest.approx(path[0])
    assert found[-1] == pytest.approx(path[-1])


def test_points_apart_are_counted_from_ten_pixels_on() -> None:
    assert apart([(0, 0), (6, 8), (6, 7), (0, 9)]) == [(0, 0), (6, 8)]  # 10, 9.2 and 9 from the first
    assert apart_bonus([]) == apart_bonus([(0, 0)]) == apart_bonus([(0, 0), (3, 3)]) == 0
    assert apart_bonus([(0, 0), (6, 8), (60, 80)]) == pytest.approx(0.4)
    assert apart_bonus([(0, 0), (0.2, 0)], min_distance=0.1, each=1) == 1


def test_a_point_on_the_edge_is_in_the_box() -> None:
    assert [in_box(point, (1, 1, 3, 3)) for point in ((1, 3), (2, 2), (0.9, 2), (2, 3.1))] == [1, 1, 0, 0]
    assert distance((0, 0), (3, 4)) == 5
