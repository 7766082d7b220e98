"""Pictures and boxes as values of a pipeline: read in their unit, cut, made by code, and shown to the next role."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.servers import Body, images_of, serve

import virc as package
from virc.core.errors import NoAnswerError
from virc.reasoning.images import OpenedImage
from virc.solving.pipelines.values import Seen, Value, boxes_in, cropped

LOOK_CLOSER = """
roles:
  eyes: {}
steps:
  - {name: where, ask: eyes, images: true, prompt: "Where is it? {question}"}
  - {name: region, boxes: where, unit: UNIT}
  - {name: part, crop: region, margin: 0.1}
  - name: reply
    ask: eyes
    images: [images, part]
    prompt: "{question} See {region}."
    when: {value: region, matches: .}
  - {name: blind, ask: eyes, prompt: "{question}", when: {value: where, matches: none}}
answer: reply
"""
BY_CODE = """
roles:
  mind: {}
steps:
  - {name: code, ask: mind, prompt: "Write code: {question}"}
  - {name: drawn, run: code, images: true}
  - {name: reply, ask: mind, images: drawn, prompt: "{drawn} {question}"}
answer: reply
"""


def value(text: str, file: tuple[int, int] = (400, 200), shown: tuple[int, int] = (392, 196)) -> Value:
    return Value((text,), seen=(Seen(OpenedImage(Image.new("RGB", file)), shown),))


@pytest.mark.parametrize(
    ("text", "unit", "boxes"),
    [
        ("[98, 49, 196, 98]", "pixel", [(100, 50, 200, 100)]),
        ("[100, 50, 200, 100]", "original", [(100, 50, 200, 100)]),
        ('{"bbox_2d": [250, 250, 500, 500], "label": "a"}', "thousand", [(100, 50, 200, 100)]),
        ("<|box_start|>(250,250),(500,500)<|box_end|>", "thousand", [(100, 50, 200, 100)]),
        ("[0.25, 0.25, 0.5, 0.5] and [0, 0, 1, 1]", "unit", [(100, 50, 200, 100), (0, 0, 400, 200)]),
        ("I see [1, 2] and [1, 2, 3, 4, 5]", "pixel", []),
    ],
)
def test_boxes_are_read_in_their_unit(text: str, unit: Any, boxes: list[tuple[int, ...]]) -> None:
    assert [each.box for each in boxes_in(value(text), unit, 0).boxes] == boxes


@pytest.mark.parametrize(
    ("text", "unit", "words"),
    [
        ("[0.25, 0.25, 0.5, 0.5]", "pixel", "in fractions of the image, not in pixel"),
        ("[100, 50, 900, 800]", "pixel", "reaches far outside"),
        ("[10, 10, 10, 20]", "pixel", "holds no pixel"),
    ],
)
def test_boxes_in_another_unit_are_no_answer(text: str, unit: Any, words: str) -> None:
    with pytest.raises(NoAnswerError, match=words):
        boxes_in(value(text), unit, 0)


def test_a_margin_stays_within_the_picture() -> None:
    (part,) = cropped(boxes_in(value("[0, 50, 100, 100]"), "original", 0), 0.5).pictures
    assert part.size == (150, 100)


def see(box: str) -> Any:
    return lambda body: box if "Where" in str(body["messages"]) else "four"


def test_a_crop_by_a_box_goes_to_the_next_role(tmp_path: Path) -> None:
    (file := tmp_path / "look.yaml").write_text(LOOK_CLOSER.replace("UNIT", "thousand"))
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste("red", (100, 50, 300, 100))
    picture.save(image := tmp_path / "p.png")
    with serve(see("[250, 250, 750, 500]")) as server:
        trace = tmp_path / "trace"
        done = virc("solve", image, "Sides?", "--pipeline", file, "--endpoint", server.url, "--trace", trace, "--json")
        first, second = server.chats()
    assert done.code == 0, done.err
    steps = {step["name"]: step for step in json.loads(done.out)["steps"]}
    assert steps["region"]["boxes"] == [[100, 50, 300, 100]]
    assert steps["part"]["pictures"] == [[240, 60]]
    assert (len(images_of(first)), len(images_of(second))) == (1, 2)
    assert "Sides? See [100, 50, 300, 100]." in str(second)
    assert "blind" not in steps
    with Image.open(trace / "step-3-image-0.png") as part:
        assert (part.size, part.getpixel((120, 30)), part.getpixel((2, 2))) == ((240, 60), (255, 0, 0), (255, 255, 255))
    page = (trace / "index.html").read_text()
    assert 'class="box" d="M100 50H300V100H100Z"' in page
    assert "240 × 60 px" in page
    assert not re.search(r"(src|href)=.?https?:", page)


def test_no_box_leaves_the_step_behind_it_out(tmp_path: Path) -> None:
    (file := tmp_path / "look.yaml").write_text(LOOK_CLOSER.replace("UNIT", "pixel"))
    Image.new("RGB", (400, 200)).save(image := tmp_path / "p.png")
    with serve(see("there is none")) as server:
        done = virc("solve", image, "Sides?", "--pipeline", file, "--endpoint", server.url)
    assert done.code == 8
    assert "step 'reply', whose output is the answer, gave no text" in done.err


def test_an_image_that_code_makes_goes_to_the_next_role(tmp_path: Path) -> None:
    (file := tmp_path / "code.yaml").write_text(BY_CODE)
    Image.new("RGB", (400, 200)).save(image := tmp_path / "p.png")
    code = "half = image_0.crop((0, 0, 60, 90))\nprint(half.size)\nhalf.save('half.png')"

    def reply(body: Body) -> str:
        return code if "Write code" in str(body["messages"]) else "made"

    with serve(reply) as server:
        solution = package.solve(image, "Half?", pipeline=file, endpoint=server.url)
        _, second = server.chats()
    assert solution.answer == "made"
    assert solution.fields["steps"][1]["pictures"] == ((60, 90),)
    (sent,) = images_of(second)
    assert "(60, 90)" in str(second["messages"])
    assert sent


def test_python_solves_by_a_pipeline_with_roles(tmp_path: Path) -> None:
    (file := tmp_path / "look.yaml").write_text(LOOK_CLOSER.replace("UNIT", "thousand"))
    with serve(see("[250, 250, 750, 500]")) as server:
        picture = Image.new("RGBA", (400, 200))
        solution = package.solve(picture, "Sides?", pipeline=file, roles={"eyes": server.url}, trace=tmp_path / "t")
    assert (solution.answer, solution.trace) == ("four", tmp_path / "t")
    with pytest.raises(package.VircError, match="samples does not go with pipeline="):
        package.solve(picture, "Sides?", pipeline=file, samples=3)
    with pytest.raises(package.VircError, match="roles= belongs to pipeline="):
        package.solve(picture, "Sides?", roles={"eyes": "tiny"})


def test_a_system_that_is_a_pipeline_needs_no_option(tmp_path: Path) -> None:
    Image.new("RGB", (280, 140)).save(image := tmp_path / "p.png")
    with serve(["seen"]) as server:
        done = virc("solve", image, "Sides?", "--system", "prism", "--endpoint", server.url)
        assert (done.code, done.out, len(server.chats())) == (0, "seen\n", 2), done.err
    done = virc("solve", image, "Sides?", "--system", "prism")
    assert (done.code, "--role eyes=URL" in done.err) == (2, True), done.err
