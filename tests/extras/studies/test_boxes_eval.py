"""Answers that are boxes: every figure computed by hand, and one evaluation of Visual-RFT on a scripted endpoint."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from support.called import virc
from support.servers import serve
from support.tables import each_case

from virc.evaluation.boxes import Overlap, overlap
from virc.reasoning.calls import View
from virc.scoring.boxes import Box, PredictedBox
from virc_extras.studies.boxes import average_precision, mean_average_precision

SCHEMA = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
VIEW = View([(100, 100)])
LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def held(answer: str | None, *annotated: Box, view: View = VIEW) -> Overlap:
    return overlap(answer, annotated, view)


def corners(box: Sequence[float]) -> Box:
    left, top, width, height = box
    return left, top, left + width, top + height


def boxes(*each: tuple[Box, float]) -> str:
    return json.dumps([{"Position": box, "Confidence": sure} for box, sure in each])


@pytest.mark.parametrize(
    ("view", "written"),
    [
        # a file of 200 x 400 px, shown at 100 x 100: the box is its upper right quarter
        (View([(100, 100)], "pixel", "corners", [(200, 400)]), "[50, 0, 100, 50]"),
        (View([(100, 100)], "original", "corners", [(200, 400)]), "[100, 0, 200, 200]"),
        (View([(100, 100)], "thousand", "corners", [(200, 400)]), "[500, 0, 1000, 500]"),
        (View([(100, 100)], "unit", "corners", [(200, 400)]), "[0.5, 0, 1.0, 0.5]"),
        (View([(100, 100)], "permille", "corners", [(200, 400)]), "[499.5, 0, 999, 499.5]"),
        (View([(100, 100)], "thousand", "center", [(200, 400)]), "[750, 250, 500, 500]"),
        (View([(100, 100)], "thousand", "corners_yx", [(200, 400)]), "[0, 500, 500, 1000]"),  # Gemma 4
        (View([(100, 100)], "original", "corners_yx", [(200, 400)]), '{"box_2d": [0, 100, 200, 200]}'),
        (View([(100, 100)], "unit", "corners_yx", [(200, 400)]), "It is at [0, 0.5, 0.5, 1.0]."),
        # sides that have names are in no order
        *(
            (View([(100, 100)], "original", form, [(200, 400)]), written)
            for form in ("corners", "corners_yx", "center")
            for written in (
                '{"x1": 100, "y1": 0, "x2": 200, "y2": 200}',
                "```json\n[{'xmin': 100, 'ymin': 0, 'xmax': 200, 'ymax': 200}]\n```",
                '[{"left": 100, "top": 0, "right": 200, "bottom": 200, "score": 0.9}]',
            )
        ),
    ],
)
def test_boxes_count_as_the_chat_protocol_says(view: View, written: str) -> None:
    found = held(written, (100.0, 0.0, 200.0, 200.0), view=view)
    assert found.iou == pytest.approx(1)
    assert found.right


@pytest.mark.parametrize(
    "answer",
    [
        "[0, 0, 10]",
        "[NaN, 0, 10, Infinity]",
        "[1e999, 0, 10, 10]",
        "[" * 20_000,
        "[0, 0, 10, 10]" * 20_000,
        f"[{'9' * 5000}, 0, 10, 10]",
        "[10, 10, 0, 0]",
        json.dumps([[0, 0, 1, 1]] * 2000),
        "\ud800[\x00",
    ],
)
def test_a_hostile_answer_is_wrong_and_no_more(answer: str) -> None:
    found = held(answer, LEFT, RIGHT)
    assert not found.right
    assert 0 <= found.iou < 0.1
    assert -1 <= found.giou < 0
    assert average_precision([found]) == 0


@each_case("case", json.loads(Path(__file__).with_name("crowd_maps.json").read_bytes())["maps"])
def test_crowds_count_as_in_pycocotools(case: dict[str, Any]) -> None:
    classes: dict[str, list[Overlap]] = {}
    for row in case["rows"]:
        found = [PredictedBox(corners(box), sure) for *box, sure in row["found"]]
        boxes, crowds = (tuple(map(corners, row[name])) for name in ("boxes", "crowds"))
        classes.setdefault(row["class"], []).append(Overlap(found, boxes, 0, 0, right=False, crowds=crowds))
    assert mean_average_precision(classes) == pytest.approx(case["map"], abs=1e-9)


@each_case(("answer", "right", "iou"), [
    ("[[0, 0, 10, 10], [40, 0, 50, 10]]", True, 1.0),  # the second lies in the crowd
    ("[[0, 0, 10, 10], [40, 30, 50, 40]]", True, 1.0),  # half of it
    ("[[0, 0, 10, 10], [40, 31, 50, 41]]", False, 0.5),  # less
    ("[40, 0, 50, 10]", False, 0.0),
    ("[[20, 0, 30, 10]]", False, 0.0),
])  # fmt: skip
def test_boxes_in_a_crowd_are_neither_right_nor_wrong(answer: str, right: bool, iou: float) -> None:
    found = overlap(answer, [LEFT], VIEW, [(35.0, 0.0, 70.0, 35.0)])
    assert (found.right, found.iou) == (right, iou)


def test_crowds_of_coco_are_no_answers(tmp_path: Path) -> None:
    Image.new("RGB", (112, 84), "white").save(tmp_path / "a.png")
    people = [([0, 0, 56, 42], 0, 1), ([60, 0, 50, 80], 1, 1), ([0, 0, 90, 80], 1, 2)]
    (tmp_path / "coco.json").write_text(json.dumps({
        "images": [{"id": at, "file_name": "a.png"} for at in (1, 2)], "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"image_id": at, "category_id": 1, "bbox": box, "iscrowd": is_crowd}
                        for box, is_crowd, at in people],
    }))  # fmt: skip
    done = virc("data", "convert", tmp_path / "coco.json", "--to", tmp_path / "rows", "--format", "batch")
    assert done.code == 0, done.err
    (row,) = map(json.loads, (tmp_path / "rows/coco.jsonl").read_text().splitlines())
    assert (row["boxes"], row["crowd_boxes"]) == ([[0, 0, 56, 42]], [[60, 0, 110, 80]])
    said = "1 crowd (boxes around many objects)"
    assert said in virc("data", "check", tmp_path / "rows").out
    answer = json.dumps([[0, 0, 500, 500], [600, 100, 700, 200], [750, 100, 850, 200]])  # thousandths
    with serve([f"<think>Left.</think>\n<answer>{answer}</answer>"]) as server:
        words = ("--endpoint", server.url, "--system", "visual-rft", "--to", tmp_path / "eval", "--json")
        done = virc("eval", tmp_path / "rows/coco.jsonl", *words)
    assert said in done.err
    (model,) = done.json["models"]
    assert (model["score"]["right"], model["boxes"]["mean_ap"]) == (1, 1)


def test_visual_rft_is_evaluated_by_where_its_boxes_lie(tmp_path: Path) -> None:
    """It writes thousandths: 0 to 500 of a picture of 112 x 84 px are 56 x 42 px of it."""
    Image.new("RGB", (112, 84), "white").save(tmp_path / "picture.png")
    said = '[{"Position": [0, 0, 500, 500], "Confidence": 0.9}]'
    rows: list[dict[str, Any]] = [
        {"id": "found", "boxes": [[0, 0, 56, 42]]},
        {"id": "missed", "box": [56, 42, 112, 84], "answer": "[56, 42, 112, 84]"},
        {"id": "half", "boxes": [[0, 0, 56, 84]], "answer": [[0, 0, 56, 84]]},
        {"id": "words", "boxes": [[0, 0, 56, 42]], "answer": "a letter"},
    ]
    problems = tmp_path / "problems.jsonl"
    asked = {"image": "picture.png", "question": "Where is A?", "category": "A"}
    problems.write_text("".join(json.dumps(row | asked) + "\n" for row in rows))
    with serve([f"<think>It is left.</think>\n<answer>{said}</answer>"]) as server:
        words = ("--endpoint", server.url, "--system", "visual-rft", "--to", tmp_path / "eval")
        done = virc("eval", problems, *words, "--json")
        again = virc("eval", problems, *words)
    assert done.code == 0, done.err
    (model,) = done.json["models"]
    assert (model["score"]["right"], model["score"]["of"]) == (2, 4)
    assert model["boxes"]["of"] == 3
    assert model["boxes"]["mean_iou"] == pytest.approx((1 + 0 + 0.5) / 3)
    # two quarters of a picture that touch at a corner leave half of it free
    assert model["boxes"]["mean_giou"] == pytest.approx((1 - 0.5 + 0.5) / 3)
    assert model["boxes"]["ap50"] == pytest.approx(2 / 3 * 2 / 3)
    # one of the three fits exactly, one at 0.5 alone; all are as sure: two of three up to 2/3, one of three up to 1/3
    assert model["boxes"]["mean_ap"] == pytest.approx((67 * 2 / 3 + 9 * 34 / 3) / 101 / 10)
    assert "mean generalized IoU" in again.out
    assert "44.4%" in again.out
    (answers,) = (tmp_path / "eval" / "answers").glob("*.jsonl")
    answered = [json.loads(line) for line in answers.read_text().splitlines()]
    for line in answered:
        jsonschema.validate(line, SCHEMA)
    assert {line["view"]["coordinates"] for line in answered} == {"thousand"}
    assert {str(line["view"]["originals"]) for line in answered} == {"[[112, 84]]"}
    page = (tmp_path / "eval" / "report.html").read_text()
    assert "<small>IoU 0.50</small>" in page
    assert "Answers that are boxes" in page
