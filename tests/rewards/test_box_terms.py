"""Terms of answers that are boxes or points, each value computed by hand."""

from typing import Any

import pytest
from rewards.prompts import answer, crop, prompt, tool
from support.tables import cases_of

from virc.reasoning.protocol import Coordinates
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample
from virc.scoring import boxes
from virc.scoring.boxes import PredictedBox

CASES = cases_of(__file__)

TERMS = {term.name: term for term in rewards.discover()[0]}
SIZE = (280, 196)


def value(name: str, said: str, known: Prompt) -> Any:
    return TERMS[name].score(sample(answer(said), known), RewardContext())


def row(*right: list[float], coordinates: Coordinates = "pixel", size: tuple[int, int] = SIZE) -> Prompt:
    return prompt([size], strict="own", coordinates=coordinates, boxes=list(right))


@pytest.mark.parametrize(
    ("one", "other", "iou", "giou", "ciou"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1, 1, 1),
        # 50 of 150; around both 150, all covered; centres 5 apart, diagonal 15^2 + 10^2; same shape
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, 1 / 3, 1 / 3 - 25 / 325),
        # a quarter of 100 each: 25 of 175; around both 225, of which 50 stay free; centres 50 of 450
        ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175, 25 / 175 - 50 / 225, 25 / 175 - 50 / 450),
        # apart: around both 300, a third of it free; centres 20 apart of 30^2 + 10^2
        ((0, 0, 10, 10), (20, 0, 30, 10), 0, -1 / 3, -400 / 1000),
        # one within the other, four times as wide: 25 of 100; the same centre; angles atan 4 and atan 1
        ((0, 0, 20, 5), (7.5, 0, 12.5, 5), 0.25, 0.25, None),
        # turned round: it has no area, and around both it still reaches from 0 to 10
        # and its diagonal has the angle 0, not pi / 4: v = 1 / 4, and v * v / (1 + v) = 1 / 20
        ((10, 10, 0, 0), (0, 0, 10, 10), 0, 0, -0.05),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0, 0, 0),
    ],
)
def test_measures_of_two_boxes(
    one: boxes.Box, other: boxes.Box, iou: float, giou: float | None, ciou: float | None
) -> None:
    for each, far in ((one, other), (other, one)):
        assert boxes.iou(each, far) == pytest.approx(iou)
        if giou is not None:
            assert boxes.giou(each, far) == pytest.approx(giou)
        if ciou is not None:
            assert boxes.ciou(each, far) == pytest.approx(ciou)


@pytest.mark.parametrize(
    "said",
    [
        "[0, 0, 140, 98]",
        "[[0, 0, 140, 98]]",
        '{"bbox_2d": [0, 0, 140, 98], "label": "a dog"}',
        '[{"Position": [0, 0, 140, 98], "Confidence": 1}]',
        "{'right': 140, 'bottom': 98, 'left': 0, 'top': 0}",
        '```json\n[{"bbox": [0.0, 0.0, 140.0, 98.0]}]\n```',
        '{"x1": 0, "y1": 0, "x2": 140, "y2": 98}',
        '{"xmin": 0, "ymin": 0, "xmax": 140, "ymax": 98}',
        '{"right": 140, "bottom": 98, "left": 0, "top": 0}',
        "The dog is at (0, 0, 140, 98), so [0, 0, 140, 98].",
        "(0,0),(140,98)",
        "<|box_start|>(0, 0), (140, 98)<|box_end|>",
        "[0,0,140,98] and [0,0,1,1]",
    ],
)
def test_boxes_in_every_form(said: str) -> None:
    known = row()
    found = boxes.read_boxes(sample(answer(said), known).answer, known.view, known.original)
    assert found[0] == PredictedBox((0, 0, 140, 98), 1.0)
    assert len(found) == 1 + (" and " in said)


@pytest.mark.parametrize(
    ("coordinates", "said"),
    [
        ("pixel", "[30.8, 39.2, 154, 98]"),
        ("permille", "[99.9, 199.8, 499.5, 499.5]"),
        ("thousand", "[100, 200, 500, 500]"),
        ("unit", "[0.1, 0.2, 0.5, 0.5]"),
        ("original", "[30, 40, 150, 100]"),
    ],
)
def test_boxes_are_counted_in_what_the_prompt_says(coordinates: Coordinates, said: str) -> None:
    """The file has 300 x 200 px and is shown at 308 x 196; right is a part of its left upper quarter."""
    known = row([30, 40, 150, 100], coordinates=coordinates, size=(300, 200))
    assert known.view.sizes == [(308, 196)]
    assert value("iou", said, known) == pytest.approx(1.0)


@pytest.mark.parametrize(("said", "right", "matching", "confidence"), CASES["matching_of_many"])
def test_matching_of_many(
    said: list[tuple[tuple[int, ...], float | str]], right: list[list[float]], matching: float, confidence: float
) -> None:
    text = str([{"Position": list(box), "Confidence": sure} for box, sure in said])
    known = row(*right)
    assert value("matching", text, known) == pytest.approx(matching)
    assert value("confidence", text, known) == pytest.approx(confidence)


@pytest.mark.parametrize(
    ("said", "points"),
    [
        ("(70, 49)", 1),
        ("(70, 49), (280, 196)", 1),
        ("[140, 98]", 1),
        ("(141, 49)", 0),
        ("(70, 99)", 0),
        ("(70, 49, 3)", 0),
        ("the middle", 0),
        ("[70, 49, 80, 50]", 0),
    ],
)
def test_a_point_in_a_box(said: str, points: int) -> None:
    assert value("point_in_box", said, row([0, 0, 140, 98])) == points


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [("point_in_box", "(200, 150)", 1), ("point_in_box", "(100, 90)", 0), ("iou", "[140, 98, 280, 196]", 1)],
)
def test_an_answer_after_a_crop_is_counted_in_the_first_image(name: str, said: str, expected: int) -> None:
    """Of 280 x 196 px; the crop has 140 x 112 px."""
    known = prompt([SIZE, (140, 112)], before=[tool(crop(0, 0, 140, 112))], strict="own", boxes=[[140, 98, 280, 196]])
    assert known.view.sizes == [SIZE, (140, 112)]
    assert value(name, said, known) == expected
