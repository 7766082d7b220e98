"""Published rows with replies and boxes: what their authors' programs read is read, and what is wrong is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from data.test_published_rows import checked
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


@pytest.mark.parametrize("texts", ["<answer> 12 </answer>", ["<think>Look.</think>", "<answer> 12 </answer>"]])
def test_an_image_behind_the_last_text_is_a_fault(texts: object, tmp_path: Path) -> None:
    crops = ["crops/0_0.png"] * (1 if isinstance(texts, str) else 2)
    file = vlm_r3(tmp_path, response_list=texts, img_crop_list=crops)
    done = virc("data", "check", file, "--system", "vlm-r3", "--workers", 1)
    assert (done.code, "so that it ends with an image" in done.out, "2 good" in done.out) == (5, True, True), done.out


@pytest.mark.parametrize(
    ("boxes", "fault"),
    [
        ("[{'Position': [0, 0, 500], 'Confidence': 1}]", "its boxes cannot be read"),
        ("[{'Position': [0, 0, 500, 900]}, {'Position': 'none'}]", "one of its boxes has not four numbers"),
        ("(0,0),(500)", "its boxes cannot be read"),
        ([[500, 500, 600, 400]], "one of its boxes is turned round"),
    ],
)
def test_a_wrong_box_is_a_fault_of_its_row(boxes: object, fault: str, tmp_path: Path) -> None:
    rows = [{"q": "Where?", "image": "a.png", "b": each} for each in ([[0, 0, 500, 900]], boxes)]
    code, said = checked(tmp_path, BOXES, *rows)
    assert (code, fault in said, "1 good" in said) == (5, True, True), said
