"""The page to look through an evaluation: what it says of each problem, and that text of others stays text."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import paged
import pytest
from PIL import Image
from reported import summary_of
from support.parsed import HOSTILE, Page

from virc.evaluation.answers import AnswerLine, EvalFolder
from virc.evaluation.pages import problem_page
from virc.evaluation.pages.traces import keep_crops
from virc.evaluation.summary import Answered, Result
from virc.reasoning.trace import ImageRecord, Message
from virc.solving.rows import as_row


def problem_of(page: Path, at: int = 0) -> Any:
    return paged.data_of(page)["problems"][at]


def test_boxes_lie_in_shares_of_the_picture_they_were_cut_from(tmp_path: Path) -> None:
    problem = problem_of(paged.make(tmp_path, ["Rw"]))
    assert problem["evidence"] == [[40 / 320, 30 / 240, 120 / 320, 90 / 240]]
    crops = [crop for answer in problem["answers"] for crop in answer["crops"]]
    assert [crop["box"] for crop in crops] == [[0.1, 0.1, 0.4, 0.4], [0.625, 0.625, 0.9375, 230 / 240]]
    assert [(crop["picture"], crop["size"]) for crop in crops] == [(0, [96, 72]), (0, [100, 80])]


def test_pictures_and_crops_are_files_beside_the_page(tmp_path: Path) -> None:
    page = paged.make(tmp_path, ["RW", "RW"])
    problems = paged.data_of(page)["problems"]
    (picture,) = {each["pictures"][0]["file"] for each in problems}  # the same of both, and once on the disk
    with Image.open(page.parent / picture) as small:
        assert (small.size, small.format) == (paged.SIZE, "JPEG")
    for answer in problems[0]["answers"]:
        with Image.open(page.parent / answer["crops"][0]["file"]) as crop:
            assert crop.getpixel((5, 5)) == (0x33, 0x44, 0x55)


def test_whole_replies_stand_in_their_order_with_the_crops_between(tmp_path: Path) -> None:
    answers = problem_of(paged.make(tmp_path, ["Ruw"], "abc"))["answers"]
    assert [(turn["role"], turn["text"], turn["crops"]) for turn in answers[0]["turns"]] == [
        ("assistant", paged.THOUGHT, []), ("user", "The crop.", [0]), ("assistant", "It says 4.", [])
    ]  # fmt: skip
    assert [turn["text"] for turn in answers[1]["turns"]] == [paged.THOUGHT, "It says four."]  # no trace of it
    assert [turn["role"] for turn in answers[2]["turns"]] == ["assistant", "user", "assistant", "rejected"]


def test_verdicts_and_looks_are_those_of_the_report(tmp_path: Path) -> None:
    problem = problem_of(paged.make(tmp_path, ["rWuf"], "abcd", arms=("as it is", "blank picture")))
    told = [each and (each["answer"], each["right"], each["looked"]) for each in problem["answers"]]
    assert told == [("4", True, False), ("7", False, True), ("four", None, False), None]
    assert [each and each["arms"] for each in problem["answers"]] == [
        {"blank picture": ["4", True]}, {"blank picture": ["7", False]}, {"blank picture": ["four", None]}, None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("https://example.org/a.png", "is on the network"),
        ("none.png", "there is no file"),
        ("bad.png", "not a picture"),
    ],
)
def test_a_picture_that_cannot_be_had_is_told(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "bad.png").write_bytes(b"text")
    row = as_row(1, {"id": "a", "image": source, "question": "?", "answer": "4", "looks": [[0, 0, 9, 9]]})
    results = [Result("a", "?", "4", {}, {"one": Answered("4", True)})]
    lines = {"one": {"a": AnswerLine("a", None, "one", "4", None)}}
    place = EvalFolder(tmp_path)
    problem_page.write(place, [row], tmp_path, summary_of(results, "one"), lines, {"as it is": results})
    problem = problem_of(place.problems)
    assert problem["pictures"][0]["file"] is None
    assert reason in problem["pictures"][0]["reason"]
    assert problem["evidence"] == []


def test_a_picture_is_a_file_by_what_it_shows(tmp_path: Path) -> None:
    urls = []
    for name, colour in (("a.png", "red"), ("b.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (9, 9), colour).save(tmp_path / name)
        urls.append("data:image/png;base64," + base64.b64encode((tmp_path / name).read_bytes()).decode())
    images = ["a.png", "b.png", "c.png", *urls]
    rows = [as_row(at, {"id": at, "image": image, "question": "?"}) for at, image in enumerate(images)]
    results = [Result(at, "?", "4", {}, {}) for at in range(len(images))]
    place = EvalFolder(tmp_path)
    problem_page.write(place, rows, tmp_path, summary_of(results), {}, {"as it is": results})
    shown = [problem["pictures"][0]["file"] for problem in paged.data_of(place.problems)["problems"]]
    assert shown == [shown[0], shown[0], shown[2]] * 2
    assert len(set(shown)) == 2


def test_arms_and_crops_are_those_of_their_own_picture_and_answer(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (100, 50), "red").save(tmp_path / name)
    row = as_row(1, {"id": "a", "images": ["a.png", "b.png"], "question": "?"})
    place = EvalFolder(tmp_path)
    trace = place.traces("one") / "a"
    trace.mkdir(parents=True)
    inputs = [ImageRecord(at, 100, 50, f"image-{at}.png") for at in range(2)]
    record = {
        "images": [*inputs, ImageRecord(2, 50, 25, "image-2.png", 1, (50, 0, 100, 25))],
        "messages": [Message("user", "?", (0, 1)), Message("assistant", "Look."), Message("user", "It.", (2,))],
    }
    (trace / "trace.json").write_bytes(msgspec.json.encode(record))
    lines = {"one": {"a": AnswerLine("a", None, "one", "4", None)}}
    arms = [[Result("a", "?", "4", {}, {"one": each})] for each in (Answered("4", True), Answered("7", False))]
    problem_page.write(
        place, [row], tmp_path, summary_of(arms[0], "one"), lines, {"as it is": arms[0], "blank picture": arms[1]}
    )
    told = problem_of(place.problems)["answers"][0]
    assert (told["right"], told["arms"]) == (True, {"blank picture": ["7", False]})
    assert [(crop["picture"], crop["box"]) for crop in told["crops"]] == [(1, [0.5, 0, 1, 0.5])]
    assert told["looked"] is None  # its replies are not known


def test_text_of_others_makes_no_element_and_the_page_asks_no_other_host(tmp_path: Path) -> None:
    text = HOSTILE + "</script><script>alert(1)</script><!--<script><img src=x onerror=alert(1)>"
    page = paged.make(tmp_path, ["RW"], text=text)
    content = page.read_text("utf-8")
    found = Page(content).elements
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert scripts == [{"type": "module"}, {"type": "application/json", "id": "data"}]
    assert [tag for tag, _ in found if tag in ("img", "iframe", "link")] == []
    assert not [value for _, attributes in found for key, value in attributes.items() if key.startswith("on")]
    assert paged.data_of(page)["problems"][0]["answers"][0]["answer"].startswith("4" + HOSTILE[:20])
    script = re.search(r'<script type="module">(.*?)</script>', content, re.DOTALL)
    policy = next(attributes["content"] for tag, attributes in found if "http-equiv" in attributes) or ""
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; img-src 'self' file:; require-trusted-types-for 'script'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"^(import|export) ", script[1], re.MULTILINE)


def test_of_a_right_answer_its_record_and_its_crops_are_kept(tmp_path: Path) -> None:
    paged.make(tmp_path, ["R"], ["one"])
    trace = tmp_path / "traces/one/p1"
    for name in ("index.html", "conversation.json", "image-0.png"):
        (trace / name).touch()
    (trace / "sample-1").mkdir()
    (trace / "sample-1" / "index.html").touch()
    keep_crops(trace)
    assert {path.name for path in trace.iterdir()} == {"trace.json", "image-1.png"}


def test_of_a_right_answer_without_a_crop_nothing_is_kept(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    (trace / "trace.json").write_bytes(
        msgspec.json.encode({"images": [{"index": 0, "width": 9, "height": 9, "file": "a"}]})
    )
    (trace / "index.html").touch()
    keep_crops(trace)
    keep_crops(trace)
    assert not trace.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"images": 5}', json.dumps({"messages": [{"role": "user"}]})])
def test_a_damaged_record_costs_the_crops_of_its_answer_alone(tmp_path: Path, content: str) -> None:
    trace = tmp_path / "traces/one/p1"
    trace.mkdir(parents=True)
    (trace / "trace.json").write_text(content)
    answer = problem_of(paged.make(tmp_path, ["u"], ["one"]))["answers"][0]
    assert (answer["crops"], len(answer["turns"])) == ([], 2)
