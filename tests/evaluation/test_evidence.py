"""Whether a model looked where the answer is seen: shares by hand, and one evaluation on a scripted endpoint."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import serve

from virc.core.errors import DataError
from virc.reasoning.protocol import own_protocol
from virc.reasoning.trace import ImageRecord
from virc.scoring.boxes import Box
from virc.solving.evidence import are_seen, crops, of_fields, shown
from virc.tools.registry import schemas

SCHEMA = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
SIZE = (400, 200)  # of the file; it is shown at half of it
INPUT = ImageRecord(0, 200, 100, "image-0.png")
BOX = (0.0, 0.0, 100.0, 100.0)


def made(
    index: int, parent: int, box: tuple[int, int, int, int] | None, width: int = 56, height: int = 56
) -> ImageRecord:
    return ImageRecord(index, width, height, f"image-{index}.png", parent, box)


@pytest.mark.parametrize(
    ("images", "share"),
    [
        ([], 0),
        # 100 x 100 px of the file
        ([made(1, 0, (0, 0, 50, 50))], 1),
        ([made(1, 0, (25, 0, 75, 50))], 0.5),
        ([made(1, 0, (100, 50, 200, 100))], 0),
        ([made(1, 0, (0, 25, 50, 50))], 0.5),
        # the crop that shows most counts; two halves are not one whole
        ([made(1, 0, (0, 0, 25, 50)), made(2, 0, (25, 0, 50, 50))], 0.5),
        ([made(1, 0, (100, 50, 200, 100)), made(2, 0, (0, 0, 50, 40))], 0.8),
        # the right half of the left half: 100 to 200 px, and the left half of it
        ([made(1, 0, (0, 0, 100, 100), 100, 100), made(2, 1, (0, 0, 50, 100))], 1),
        ([made(1, 0, (25, 0, 75, 50), 50, 50), made(2, 1, (0, 0, 25, 50))], 0.5),
        # what is shown again or larger is the picture as a whole, or the crop that it was
        ([made(1, 0, None, 400, 200)], 0),
        ([made(1, 0, (0, 0, 50, 50), 50, 50), made(2, 1, None, 100, 100)], 1),
        ([made(1, 0, None, 400, 200), made(2, 1, (0, 0, 50, 100))], 0.5),
        # a crop of nearly all of the picture shows no more than that
        ([made(1, 0, (0, 0, 160, 90))], 0),
        ([made(1, 0, (0, 0, 158, 79))], 0),
        ([made(1, 0, (0, 0, 140, 71))], 1),
        ([made(1, 0, (0, 0, 160, 90)), made(2, 0, (150, 60, 200, 100))], 0),
        # the same in parts, unless they are on the way to a smaller one
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (100, 0, 200, 50))], 0),
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (100, 0, 200, 49))], 1),
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (20, 0, 120, 50))], 1),
        ([made(1, 0, (0, 0, 100, 100)), made(2, 0, (100, 0, 200, 100)), made(3, 0, (0, 0, 60, 50))], 1),
        # another input, and a crop of that
        ([ImageRecord(1, 200, 100, "image-1.png"), made(2, 1, (0, 0, 50, 50))], 0),
    ],
)
def test_the_share_of_a_box_that_a_crop_shows(images: list[ImageRecord], share: float) -> None:
    assert shown([BOX], SIZE, [INPUT, *images]) == pytest.approx([share])


@pytest.mark.parametrize("side", [196, 392, 756, 784])
def test_a_crop_of_the_whole_picture_is_the_picture_as_a_whole(side: int) -> None:
    """196, 392 and 784 px are sides of which that many parts of them are, in floating point, not all."""
    images = [ImageRecord(0, side, side, "image-0.png"), made(1, 0, (0, 0, side, side), side, side)]
    assert shown([BOX], (side, side), images) == [0]


def test_a_point_is_seen_or_not() -> None:
    crop = made(1, 0, (0, 0, 50, 50))
    points: list[Box] = [(10, 10, 10, 10), (10, 10, 10, 150)]
    assert shown(points, SIZE, [INPUT, crop]) == [1.0, 0.0]


def test_crops_are_without_the_pictures_that_they_are_of() -> None:
    assert crops([INPUT, made(1, 0, (0, 0, 50, 50))], [SIZE]) == [(0, (0.0, 0.0, 0.25, 0.5))]


def test_all_of_the_evidence_is_to_be_seen() -> None:
    assert are_seen([1.0, 0.75])
    assert not are_seen([1.0, 0.74])


@pytest.mark.parametrize(
    ("fields", "evidence"),
    [
        ({"answer": "5"}, None),
        ({"answer": "5", "looks": []}, None),
        ({"answer": "5", "looks": [[0, 0, 1, 1]], "box": [0, 0, 9, 9]}, [(0, 0, 1, 1)]),
        ({"answer": "red", "box": [0, 0, 9, 9]}, [(0, 0, 9, 9)]),
        ({"answer": "red", "boxes": [[0, 0, 9, 9], [1, 1, 2, 2]]}, [(0, 0, 9, 9), (1, 1, 2, 2)]),
        ({"box": [0, 0, 9, 9]}, None),
        ({"answer": "[0, 0, 9, 9]", "box": [0, 0, 9, 9]}, None),
    ],
)
def test_what_the_evidence_of_a_row_is(fields: dict[str, Any], evidence: list[Box] | None) -> None:
    assert of_fields(fields) == evidence


def test_two_hundred_boxes_of_evidence_are_enough() -> None:
    many = [[0, 0, 1, 1]] * 300
    for fields in ({"looks": many, "answer": "5"}, {"boxes": many, "answer": "red"}):
        assert len(of_fields(fields) or []) == 200


def test_looks_that_are_no_boxes_are_told() -> None:
    with pytest.raises(DataError, match="the row's looks are no list of four numbers each"):
        of_fields({"answer": "5", "looks": [[1, 2]]})


def test_right_answers_are_coordinates_from_where_was_looked(tmp_path: Path) -> None:
    """Its one look is the left upper quarter of 112 x 112 px, whatever is asked."""
    Image.new("RGB", (112, 112), "white").save(tmp_path / "picture.png")
    rows: list[dict[str, Any]] = [
        {"id": "seen", "answer": "5", "looks": [[0, 0, 56, 56]]},
        {"id": "seen-wrong", "answer": "6", "box": [8, 8, 40, 40]},
        {"id": "half", "answer": "5", "looks": [[0, 0, 56, 56], [56, 56, 112, 112]]},
        {"id": "elsewhere", "answer": "6", "boxes": [[28, 0, 84, 56]]},
        {"id": "unknown", "answer": "5"},
    ]
    asked = {"image": "picture.png", "question": "How large is A?"}
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps(row | asked) + "\n" for row in rows))
    look = {"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 56, 56], "image_index": 0}}
    replies = [
        f"<think>Look left.</think>\n<tool_call>\n{json.dumps(look)}\n</tool_call>",
        "<think>A is 5.</think>\n<answer>5</answer>",
    ]
    words = ("--concurrency", 1, "--to", tmp_path / "eval")
    with serve(replies * len(rows)) as server:
        done = virc("eval", problems, "--endpoint", server.url, *words, "--json")
        again = virc("eval", problems, "--endpoint", server.url, *words)
    assert done.code == 0, done.err
    (model,) = done.json["models"]
    looks = {name: (each.get("count", each.get("right")), each["of"]) for name, each in model["evidence"].items()}
    assert looks == {"seen": (2, 4), "right_where_seen": (1, 2), "right_elsewhere": (1, 2)}
    assert "evidence seen" in again.out
    assert "50.0% of 4" in again.out
    (answers,) = (tmp_path / "eval" / "answers").glob("*.jsonl")
    lines = {line["id"]: line for line in map(json.loads, answers.read_text().splitlines())}
    for line in lines.values():
        jsonschema.validate(line, SCHEMA)
    assert {id: line.get("evidence") for id, line in lines.items()} == {
        "seen": [1.0],
        "seen-wrong": [1.0],
        "half": [1.0, 0.0],
        "elsewhere": [0.5],
        "unknown": None,
    }
    page = (tmp_path / "eval" / "report.html").read_text()
    assert "Whether it looked where the answer is seen" in page


@pytest.mark.parametrize("crops", ["file", "shown"])
def test_evidence_is_counted_in_pixels_of_the_file_where_it_is_shown_larger(crops: str, tmp_path: Path) -> None:
    spoken = msgspec.structs.replace(own_protocol(schemas(("crop_image",))), crops=crops)
    (tmp_path / "protocol.json").write_bytes(msgspec.json.encode(spoken))
    Image.new("RGB", (100, 100), "white").save(tmp_path / "picture.png")  # shown at 112 x 112
    row = {"id": 1, "image": "picture.png", "question": "How large is A?", "answer": "5", "looks": [[24, 0, 75, 50]]}
    (tmp_path / "problems.jsonl").write_text(json.dumps(row) + "\n")
    look = {"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 56, 56], "image_index": 0}}
    replies = [
        f"<think>Look.</think>\n<tool_call>\n{json.dumps(look)}\n</tool_call>",
        "<think>5</think>\n<answer>5</answer>",
    ]
    words = ("--protocol", tmp_path / "protocol.json", "--to", tmp_path / "eval")
    with serve(replies) as server:
        done = virc("eval", tmp_path / "problems.jsonl", "--endpoint", server.url, *words)
    assert done.code == 0, done.err
    (answers,) = (tmp_path / "eval" / "answers").glob("*.jsonl")
    line = json.loads(answers.read_text())
    assert (line["evidence"], line["regions"]) == ([0.5098], [[0, [0.0, 0.0, 0.5, 0.5]]])


def test_looks_of_a_problem_that_are_no_boxes_are_its_fault(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56), "white").save(tmp_path / "picture.png")
    row = {"id": "odd", "image": "picture.png", "question": "How large is A?", "answer": "5", "looks": "left"}
    (tmp_path / "problems.jsonl").write_text(json.dumps(row) + "\n")
    done = virc("eval", tmp_path / "problems.jsonl", "--model", "tiny", "--to", tmp_path / "eval")
    assert done.code == 5
    assert "line 1: the row's looks are no list of four numbers each" in done.err
