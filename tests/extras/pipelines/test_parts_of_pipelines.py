"""The folder of a pipeline's trace."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from support.tables import each_case

from virc.reasoning.images import OpenedImage, open_image
from virc_extras.pipelines import Reply, boxes, crop, trace, vote
from virc_extras.pipelines.asking import chances
from virc_extras.pipelines.speaking import ShownPicture
from virc_extras.pipelines.steps import Branch, Run, running

PICTURE = OpenedImage(Image.new("RGB", (100, 50), "white"))
BOX = [10, 10, 60, 40]


def test_the_trace_has_a_file_for_each_picture(tmp_path: Path) -> None:
    drawn = Image.new("RGB", (100, 50), "white")
    ImageDraw.Draw(drawn).rectangle((10, 10, 59, 39), fill="blue")
    images = [PICTURE, OpenedImage(drawn)]
    with running(Branch(run := Run(1))):
        (box,) = boxes(Reply(str(BOX), seen=(ShownPicture(images[1], (100, 50)),)), "original")
        crop(box)
        crop(box, margin=0.1)
        vote(["a"])
    known = {"pipeline": "p", "question": "<b>?", "roles": {}, "answer": "blue"}
    assert trace.write(tmp_path / "t", known, images, run.done) is None
    names = ["input-0.png", "input-1.png", "step-2-image-0.png", "step-3-image-0.png"]
    assert sorted(each.name for each in (tmp_path / "t").iterdir()) == ["index.html", *names, "steps.json"]
    found = [open_image(tmp_path / "t" / name, name) for name in names]
    assert [each.size for each in found] == [(100, 50), (100, 50), (50, 30), (60, 36)]
    assert found[1].tobytes() == drawn.tobytes()
    assert found[2].getcolors() == [(1500, (0, 0, 255))]
    record = json.loads((tmp_path / "t" / "steps.json").read_text())
    assert (record["answer"], record["error"], record["images"]) == ("blue", None, names[:2])
    assert [each["images"] for each in record["steps"]] == [[], names[2:3], names[3:], []]
    page = (tmp_path / "t" / "index.html").read_text()
    assert "&lt;b&gt;?" in page
    assert page.count("data:image/png;base64,") >= 4
    assert page.count("Boxes, 100 × 50 px</figcaption>") == 1
    shown = ("Image 0, 100 × 50", "Image 1, 100 × 50", "step-2-image-0.png, 50 × 30", "step-3-image-0.png, 60 × 36")
    assert [f"{each} px</figcaption>" in page for each in shown] == [True] * 4
    assert page.count('d="M10 10H60V40H10Z"') == 2, "the box and its halo, on the input"


@each_case(
    ("answers", "likeliest", "found"),
    [
        (("47", "48", "57"), {"4": 0.99, "5": 0.007}, None),
        (("47", "48", "57"), {"5": 0.9, "4": 0.001}, {"47": 0, "48": 0, "57": 1}),
        (("Yes", "No"), {" yes.": 0.6, "no": 0.2, "Maybe": 0.2}, {"Yes": 0.75, "No": 0.25}),
    ],
)
def test_a_token_that_begins_two_answers_tells_neither(answers: Any, likeliest: Any, found: Any) -> None:
    shares, unclear = chances(answers, tuple((token, math.log(share)) for token, share in likeliest.items()))
    assert unclear == (() if found else ("47", "48"))
    assert not found or shares == pytest.approx(found)
