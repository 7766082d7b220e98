"""Temporal IoU: by hand, and on cases that the published programs were run on."""

import json
from pathlib import Path

import pytest

from virc.scoring.intervals import Span
from virc_extras.studies.intervals import iou, iou_of_sets

PUBLISHED = json.loads(Path(__file__).with_name("intervals.json").read_text())
DIFFERENT = {number for numbers in PUBLISHED["differences"].values() for number in numbers}


def test_spans_as_published() -> None:
    assert len(PUBLISHED["spans"]) == 450
    for found, right, value in PUBLISHED["spans"]:
        assert iou(tuple(found), tuple(right)) == pytest.approx(value, abs=1e-9), (found, right)


def test_sets_as_published_but_for_the_listed_differences() -> None:
    assert len(PUBLISHED["sets"]) == 530
    for number, (found, right, value) in enumerate(PUBLISHED["sets"]):
        same = iou_of_sets([*map(tuple, found)], [*map(tuple, right)]) == pytest.approx(value, abs=1e-9)
        assert same is (number not in DIFFERENT), (number, found, right)


@pytest.mark.parametrize(
    ("found", "right", "value"),
    [
        # 0 to 4 and 22 to 25 against 1 to 5: 3 of 4 + 3 + 4 - 3
        ([(0, 3), (2, 4), (22, 25)], [(1, 5), (2, 2), (2, 4)], 3 / 8),
        ([(0, 2), (4, 6)], [(0, 6)], 4 / 6),
        ([(0, 2), (0, 2)], [(0, 2)], 1.0),  # one twice is one
        ([], [(0, 2)], 0.0),
        ([], [], 1.0),
        ([(1, 1)], [(2, 2)], 0.0),
        ([(5, 3), (0, 2)], [(0, 2)], 1.0),
    ],
)
def test_sets_by_hand(found: list[Span], right: list[Span], value: float) -> None:
    assert iou_of_sets(found, right) == iou_of_sets(right, found) == pytest.approx(value)
