"""Temporal IoU on cases that the published programs were run on."""

import json
from pathlib import Path

import pytest

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
