"""Sets of boxes against each other, computed by hand and held against published functions."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import each_case

from virc.scoring.boxes import Box, iou
from virc_extras.studies.box_sets import agreement, matched, mean_average_precision, weighted_overlap

PUBLISHED = json.loads(Path(__file__).with_name("published_maps.json").read_bytes())["maps"]
A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
HALF = (0, 0, 10, 5)  # IoU with A: 0.5
SIDES = st.integers(0, 12)
BOXES = st.lists(
    st.tuples(SIDES, SIDES, SIDES, SIDES).map(lambda at: (at[0], at[1], at[0] + at[2] + 1, at[1] + at[3] + 1)),
    max_size=4,
)


@each_case(
    ("found", "right", "weights", "precision", "recall"),
    [
        ([A, B], [A, B], None, 1, 1),
        ([A], [A, B, C], None, 1, 1 / 3),
        ([A], [A, B, C], [3, 1, 1], 1, 3 / 5),
        ([A, A, (60, 60, 70, 70)], [A, B], [1, 3], 1 / 3, 1 / 4),
        ([HALF], [A], None, 1, 1),
        ([A], [], None, 0, 0),
        ([], [], None, 1, 1),
    ],
)
def test_agreement(
    found: Sequence[Box], right: Sequence[Box], weights: Sequence[float] | None, precision: float, recall: float
) -> None:
    f1 = 2 * precision * recall / (precision + recall) if recall else 0
    assert agreement(found, right, weights) == pytest.approx((precision, recall, f1))


def test_overlap_by_weights() -> None:
    assert weighted_overlap([HALF, B], [A, B], [3, 1]) == pytest.approx((3 * 0.5 + 1) / 4)
    assert weighted_overlap([HALF], [A, B]) == pytest.approx(0.25)
    # the one box goes where it gains more: 0.5 of weight 3, not 1 of weight 1
    assert weighted_overlap([HALF], [A, HALF], [3, 1]) == pytest.approx(1.5 / 4)
    assert weighted_overlap([], []) == 1
    assert weighted_overlap([], [A]) == 0


def best(found: Sequence[Box], right: Sequence[Box], least: float) -> tuple[int, float]:
    """Pairs and overlap of the best of all ways to match."""
    few, many = sorted((found, right), key=len)
    ways = ([iou(one, other) for one, other in zip(few, way, strict=True)] for way in permutations(many, len(few)))
    counted = ([each for each in way if each and each >= least] for way in ways)
    return max((len(way), sum(way)) for way in counted)


@given(BOXES, BOXES, st.sampled_from([0.0, 0.3, 0.5]))
def test_matching_is_the_best_of_all_ways(found: list[Box], right: list[Box], least: float) -> None:
    pairs = matched(found, right, min_iou=least)
    assert len({pair.found for pair in pairs}) == len({pair.right for pair in pairs}) == len(pairs)
    number, overlap = best(found, right, least)
    assert (len(pairs), sum(pair.overlap for pair in pairs)) == (number, pytest.approx(overlap))


def labelled(boxes: Iterable[tuple[str, Sequence[float]]]) -> Mapping[str, list[Box]]:
    found = defaultdict[str, list[Box]](list)
    for label, (left, top, right, bottom) in boxes:
        found[label].append((left, top, right, bottom))
    return found


def test_mean_average_precision_is_the_published_one() -> None:
    assert len(PUBLISHED) >= 400
    for case in PUBLISHED:
        ours = mean_average_precision(labelled(case["found"]), labelled(case["right"]))
        assert ours == pytest.approx(case["map"], abs=1e-9), case


@each_case("weights", [[1], [1, 0], [1, -2]])
def test_weights_are_over_nothing_and_as_many_as_boxes(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="2 boxes need as many weights over 0"):
        agreement([A], [A, B], weights)


def test_of_equal_overlaps_the_last_box_of_the_row_is_taken() -> None:
    """As pycocotools 2.0.11 and faster-coco-eval 1.8.0 match them: AP 0.625; the first would give 0.328."""
    right = [(50.0, 0.0, 90.0, 40.0), (60.0, 0.0, 90.0, 30.0)]
    found = [(50.0, 0.0, 90.0, 30.0), (50.0, -10.0, 90.0, 40.0)]
    assert mean_average_precision({"cat": found}, {"cat": right}) == pytest.approx(0.62524752, abs=1e-8)
