"""Published rows with replies and boxes: what their authors' programs read is read, and what is wrong is said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data.test_published_rows import batch, checked
from support import published_rows
from support.called import virc

BOXES = "{about: mine, question: q, images: image, boxes: b}"


def vlm_r3(folder: Path, **change: Any) -> Path:
    """VLM-R3's rows for supervised training, the first of them changed; None removes a column."""
    file = published_rows.vlm_r3_sft(folder)
    first, *others = json.loads(file.read_text())
    first = {key: value for key, value in (first | change).items() if value is not None}
    file.write_text(json.dumps([first, *others]))
    return file


def replies(file: Path, to: Path) -> list[str]:
    """What the assistant says in the rows of a file of VLM-R3, converted for supervised training."""
    done = virc("data", "convert", file, "--system", "vlm-r3", "--to", to, "--format", "sft")
    assert done.code == 0, done.err
    return [row["messages"][-1]["content"] for row in json.loads((to / f"{file.stem}.json").read_text())]


@pytest.mark.parametrize(
    ("texts", "crops", "reply"),
    [
        (["<think>So.</think>\n<answer> 12 </answer>"], None, "<think>So.</think>\n<answer> 12 </answer>"),
        (
            ["<think>So", "it is.</think>", "<answer> 12 </answer>"],
            [],
            "<think>So\nit is.</think>\n<answer> 12 </answer>",
        ),
        (
            ['<think>Look.\n{"bbox_2d": [14, 14, 98, 98]}\n', "It says 12.</think>", "<answer> 12 </answer>"],
            ["crops/0_0.png"],
            '<think>Look.\n{"bbox_2d": [14, 14, 98, 98]}\n<image>\nIt says 12.</think>\n<answer> 12 </answer>',
        ),
    ],
)
def test_a_reply_may_have_fewer_images_than_places_for_them(
    texts: Sequence[str], crops: Sequence[str] | None, reply: str, tmp_path: Path
) -> None:
    file = vlm_r3(tmp_path / "rows", response_list=texts, img_crop_list=crops)
    done = virc("data", "check", file, "--system", "vlm-r3", "--workers", 1)
    assert (done.code, "3 rows, 3 good" in done.out) == (0, True), done.out
    assert replies(file, tmp_path / "to")[0] == reply


@pytest.mark.parametrize("texts", ["<answer> 12 </answer>", ["<think>Look.</think>", "<answer> 12 </answer>"]])
def test_an_image_behind_the_last_text_is_a_fault(texts: object, tmp_path: Path) -> None:
    crops = ["crops/0_0.png"] * (1 if isinstance(texts, str) else 2)
    file = vlm_r3(tmp_path, response_list=texts, img_crop_list=crops)
    done = virc("data", "check", file, "--system", "vlm-r3", "--workers", 1)
    assert (done.code, "so that it ends with an image" in done.out, "2 good" in done.out) == (5, True, True), done.out


def test_an_image_behind_an_answer_is_a_fault_of_rows_of_ours_too(tmp_path: Path) -> None:
    replies(vlm_r3(tmp_path / "rows"), tmp_path / "to")
    file = tmp_path / "to" / "vlm-r3-sft.json"
    first, *others = json.loads(file.read_text())
    first["messages"][-1]["content"] += "\n<image>\n"
    first["images"].append(first["images"][-1])
    file.write_text(json.dumps([first, *others]))
    done = virc("data", "check", file, "--workers", 1)
    assert (done.code, "end: its last message ends with a result" in done.out) == (0, True), done.out


@pytest.mark.parametrize("converted", [True, False])
def test_an_image_behind_a_call_that_is_no_json_is_a_fault(converted: bool, tmp_path: Path) -> None:
    broken = ['<think>Look.\n{"bbox_2d": [14, 14, 98, 98]\n', "It says 12.</think>\n<answer> 12 </answer>"]
    file = vlm_r3(tmp_path / "rows", response_list=broken)
    if converted:
        replies(file, tmp_path / "to")
        file = tmp_path / "to" / "vlm-r3-sft.json"
    words = [] if converted else ["--system", "vlm-r3"]
    done = virc("data", "check", file, "--workers", 1, *words)
    assert (done.code, "the tool call is not JSON" in done.out, "2 good" in done.out) == (0, True, True), done.out


@pytest.mark.parametrize(
    ("boxes", "fault"),
    [
        ("[{'Position': [0, 0, 500], 'Confidence': 1}]", "its boxes cannot be read"),
        ("[{'Position': [0, 0, 500, 900]}, {'Position': [0, 0, 500]}]", "one of its boxes has not four numbers"),
        ("[{'Position': [0, 0, 500, 900]}, {'Position': 'none'}]", "one of its boxes has not four numbers"),
        ([[0, 0, 500, 900, 3]], "its boxes cannot be read"),
        ("(0,0),(500)", "its boxes cannot be read"),
        ([[500, 500, 100, 900]], "one of its boxes is turned round: 126, 98, 25.2, 176.4 in pixels of the file"),
        ([[500, 500, 600, 400]], "one of its boxes is turned round"),
        ([[500, 500, 600, 1200]], "one of its boxes is outside the picture: 126, 98, 151.2, 235.2 in pixels of the"),
        ([[-30, 0, 600, 1000]], "one of its boxes is outside the picture"),
    ],
)
def test_a_wrong_box_is_a_fault_of_its_row(boxes: object, fault: str, tmp_path: Path) -> None:
    rows = [{"q": "Where?", "image": "a.png", "b": each} for each in ([[0, 0, 500, 900]], boxes)]
    code, said = checked(tmp_path, BOXES, *rows)
    assert (code, fault in said, "1 good" in said) == (5, True, True), said


@pytest.mark.parametrize(
    ("boxes", "found"),
    [
        ("Boeing 737 (300 series)", None),
        ("[]", []),
        ([[-1, 0, 1001, 1003]], [[-0.252, 0, 252.252, 196.588]]),
        ("(0,0),(500,1000)(500,0),(1000,1000)", [[0, 0, 126, 196], [126, 0, 252, 196]]),
    ],
)
def test_a_name_and_a_rounded_box_are_no_fault(boxes: object, found: object, tmp_path: Path) -> None:
    assert batch(tmp_path, BOXES, {"q": "Where?", "image": "a.png", "b": boxes}).get("boxes") == found


@pytest.mark.parametrize("image", ["", {"path": ""}, {"path": None, "bytes": None}, {"path": "", "bytes": b""}])
def test_an_empty_image_is_called_empty(image: object, tmp_path: Path) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([{"problem": "What?", "solution": "12", "image": image}]), file)
    done = virc("data", "check", file, "--workers", 1)
    assert (done.code, "is empty, and an image is due" in done.out) == (5, True), done.out


def test_a_path_out_of_the_folder_names_the_remedy(tmp_path: Path) -> None:
    row = {"q": "What?", "image": "/data/train/a.png", "b": None}
    code, said = checked(tmp_path, BOXES, row)
    assert (code, "`folder` of a layout says what paths begin with" in said) == (5, True), said


@pytest.mark.parametrize("words", [("--system", "vlm-r3"), ()])
def test_a_layout_is_that_of_most_rows(words: tuple[str, ...], tmp_path: Path) -> None:
    file = vlm_r3(tmp_path, question=None) if words else tmp_path / "rows.json"
    if not words:
        published_rows.picture(0).save(tmp_path / "a.png")
        row = {"image": "a.png", "problem": "What?", "solution": "12"}
        file.write_text(json.dumps([{"image": "a.png", "solution": "12"}, row, row]))
    done = virc("data", "check", file, "--workers", 1, *words)
    assert (done.code, "3 rows, 2 good" in done.out) == (5, True), done.out
    assert f":1: row: it has no column {'question' if words else 'problem'}" in done.out
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "batch", *words)
    assert (done.code, "hint: --skip-faulty leaves such rows out" in done.err) == (5, True), done.err
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "batch", "--skip-faulty", *words)
    found = [json.loads(line)["id"] for line in (tmp_path / "to" / f"{file.stem}.jsonl").read_text().splitlines()]
    assert found == [f"{file.stem}-2", f"{file.stem}-3"], done.err


def test_cleaned_rows_keep_their_numbers(tmp_path: Path) -> None:
    published_rows.picture(0).save(tmp_path / "a.png")
    row = {"image": "a.png", "problem": "What?", "solution": "12"}
    (tmp_path / "rows.json").write_text(json.dumps([row, row | {"solution": ""}, row]))
    virc("data", "check", tmp_path / "rows.json", "--clean", tmp_path / "to", "--workers", 1)
    found = [json.loads(line)["id"] for line in (tmp_path / "to" / "rows.jsonl").read_text().splitlines()]
    assert found == ["rows-1", "rows-3"]
