"""`virc eval --crop-ablation`, and what refusals and unusable replies count: a server that sees what it is sent, and
`tiny`.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from PIL import Image
from support.called import Done, virc
from support.replies import answer as answered
from support.replies import call as called
from support.replies import picture
from support.servers import Server, image_bytes, images_of, serve
from support.solving import CROP, answer

from virc.reasoning.images import show
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Session
from virc.tools.registry import known

pytestmark = pytest.mark.usefixtures("here")

PAGE, COUNTERFACTUAL, WHITE = 40, 90, 255
"""The grey of a picture, of its counterfactual's, and of blank crops."""

CUT = called("crop_image", bbox_2d=[28, 28, 140, 84])
GROWN = called("scale_image", scale_factor=2, image_index=1)
LARGE = called("scale_image", scale_factor=1.5)
PART = called("crop_image", bbox_2d=[56, 56, 168, 112], image_index=3)
AGAIN = called("display_image", image_index=1)
WHOLE = called("display_image")


def seen(body: dict[str, Any]) -> str:
    """Look once, then answer what grey the crop has."""
    if len(body["messages"]) == 2:
        return CROP
    page, crop = (Image.open(io.BytesIO(image_bytes(image))).getpixel((5, 5)) for image in images_of(body))
    assert isinstance(page, tuple)
    assert isinstance(crop, tuple)
    return answer(f"{crop[0]}" if page[0] == PAGE else "another page")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(seen, models=("one", "other")) as running:
        yield running


@pytest.fixture
def problems(here: Path) -> Path:
    for name, shade in (("page", PAGE), ("counterfactual", COUNTERFACTUAL)):
        Image.new("RGB", (112, 84), (shade,) * 3).save(here / f"{name}.png")
    return written(here, [row(at) for at in range(6)])


def row(id: int | str, /, **changed: Any) -> dict[str, Any]:
    counterfactual = {"image": "counterfactual.png", "answer": str(COUNTERFACTUAL)}
    fields = {
        "id": id,
        "image": "page.png",
        "question": f"problem {id}",
        "answer": str(PAGE),
        "counterfactual": counterfactual,
    }
    return {name: value for name, value in (fields | changed).items() if value is not ...}


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "greys.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return file


def ask(server: Server, problems: Path, *words: object) -> Done:
    return virc("eval", problems, "--endpoint", server.url, "--model", "one", "--json", *words)


def right(done: Done) -> tuple[int, int]:
    assert done.code == 0, done.err
    score = done.json["models"][0]["score"]
    return score["right"], score["of"]


def lines(folder: Path, model: str = "one") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers" / f"{model}.jsonl").read_text().splitlines()]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("crops", "folder", "told", "count"),
    [
        ("none", "greys", PAGE, 6),
        ("counterfactual", "greys-counterfactual", COUNTERFACTUAL, 6),
        ("blank", "greys-blank", WHITE, 0),
    ],
)
def test_crops_are_those_asked_for_and_a_counterfactuals_answer_is_right(
    server: Server, problems: Path, here: Path, crops: str, folder: str, told: int, count: int
) -> None:
    done = ask(server, problems, "--crop-ablation", crops, "--concurrency", 4)
    assert right(done) == (count, 6)
    assert (done.json["crop_ablation"], done.json["folder"]) == (crops, f"evals/{folder}")
    found = lines(here / "evals" / folder)
    assert {line["answer"] for line in found} == {str(told)}
    assert {line["settings"].get("crop_ablation", "none") for line in found} == {crops}
    schema = Path(__file__).parents[2] / "recipes/virc/core/schemas/solve.json"
    for line in found:
        jsonschema.validate(line, json.loads(schema.read_text()))
    page = (here / "evals" / folder / "report.html").read_text()
    assert ("every crop is white" in page) == (crops == "blank")
    assert ("crops are those of a counterfactual" in page) == (crops == "counterfactual")


def test_accepted_answers_are_those_of_the_counterfactual_alone(server: Server, problems: Path, here: Path) -> None:
    rows = [row(at, answers=[str(PAGE), str(COUNTERFACTUAL)]) for at in range(2)]
    rows += [row("blank", counterfactual={"image": "counterfactual.png", "answer": "0"}, answers=[str(COUNTERFACTUAL)])]
    assert right(ask(server, written(here, rows), "--crop-ablation", "counterfactual")) == (2, 3)


def test_answers_over_other_crops_are_never_mixed(server: Server, problems: Path, here: Path) -> None:
    assert ask(server, problems, "--crop-ablation", "none", "--to", "a").code == 0
    asked, before = len(server.chats()), (here / "a/summary.json").read_bytes()
    for model in ("one", "other"):
        words = ("eval", problems, "--endpoint", server.url, "--model", model, "--to", "a")
        done = virc(*words, "--crop-ablation", "blank")
        assert done.code == 3
        assert "a/answers/one.jsonl holds answers of the crop ablation none, not blank" in done.err
        assert "hint: --to NEW_FOLDER, or --crop-ablation none" in done.err
    assert (len(server.chats()), (here / "a/summary.json").read_bytes()) == (asked, before)
    assert ask(server, problems, "--crop-ablation", "none", "--to", "a").code == 0


def test_a_counterfactual_of_another_size_costs_its_row_alone(server: Server, problems: Path, here: Path) -> None:
    Image.new("RGB", (56, 84)).save(here / "small.png")
    written(here, [row(0), row(1, counterfactual={"image": "small.png", "answer": "5"})])
    done = ask(server, problems, "--crop-ablation", "counterfactual")
    assert done.code == 1
    assert "row 1: the image and its counterfactual differ in size: 112 x 84 px and 56 x 84 px" in done.err
    assert (done.json["models"][0]["score"]["of"], done.json["models"][0]["missing"]) == (1, 1)


def test_a_crop_and_all_that_is_made_of_it_are_cut_from_what_lies_beneath(own: Protocol) -> None:
    page, other = picture(), picture().rotate(180)
    swapped = Session(own, "?", [show(page, QWEN2).with_placeholder(other)], tools=known())
    alone, beneath = Session(own, "?", [page], tools=known()), Session(own, "?", [other], tools=known())
    for reply in (CUT, GROWN, LARGE, PART, AGAIN, WHOLE, answered("5")):
        for session in (swapped, alone, beneath):
            session.feed(reply)
    kinds = ("whole", "cut", "cut", "whole", "cut", "cut", "whole")
    assert len(swapped.images) == len(kinds)
    for kind, mine, plain, hidden in zip(kinds, swapped.images, alone.images, beneath.images, strict=True):
        same = hidden if kind == "cut" else plain
        assert mine.pixels.tobytes() == same.pixels.tobytes()
        assert plain.pixels.tobytes() != hidden.pixels.tobytes()
        assert (mine.size, mine.parent, mine.box) == (plain.size, plain.parent, plain.box)
    assert swapped.trace().messages == alone.trace().messages


REPLIES = {  # problem -> what the model says, whatever it is asked
    "answered": answer("40"),
    "refused": answer("unreadable"),
    "unusable": "no tags at all",
    "circling": CROP,
}


def told(body: dict[str, Any]) -> str:
    found = re.search(r"Question: (\w+)", json.dumps(body["messages"]))
    assert found
    return REPLIES[found[1]]


def test_a_right_refusal_counts_and_an_unusable_reply_is_none(problems: Path, here: Path) -> None:
    rows = [
        row(f"{kind} {due}", question=kind, answer=due, counterfactual=...)
        for kind in REPLIES
        for due in ("40", "unreadable")
    ]
    written(here, rows)
    with serve(told, models=("one",)) as server:
        done = ask(server, problems, "--max-turns", 2, "--protocol", "default")
        assert right(done) == (2, 8)
        assert right(ask(server, problems, "--max-turns", 2, "--protocol", "default")) == (2, 8)
    model = done.json["models"][0]
    assert (model["refusals"]["count"], model["refusals"]["of"]) == (2, 8)
    assert (model["false_refusals"]["count"], model["false_refusals"]["of"]) == (1, 4)
    assert (model["unanswered"], model["unusable"]) == (6, 2)
    assert model["format_errors"] == pytest.approx(2 * 4 / (4 * 1 + 2 * 1 + 2 * 2))
    assert model["deciders"] == {"rule": 3}
    failures = {line["id"]: line["failure"] for line in lines(here / "evals/greys")}
    for kind, failure in (("answered", None), ("refused", "no_answer"), ("unusable", "tries"), ("circling", "turns")):
        assert failures[f"{kind} 40"] == failures[f"{kind} unreadable"] == failure
    kept = {path.parent.name for path in here.glob("evals/greys/traces/one/*/index.html")}
    assert {"answered 40", "refused unreadable"} & kept == set()
    assert len(kept) == 6


@pytest.mark.integration
def test_tiny_answers_what_its_crops_show() -> None:
    words = ("--family", "polygons", "--difficulty", "easy", "--formats", "batch")
    assert virc("data", "synth", "--to", "drawn", "--count", 1, "--seed", 4, *words, "--counterfactuals").code == 0
    found = {}
    for crops in ("none", "counterfactual", "blank"):
        done = virc("eval", "drawn", "--model", "tiny", "--device", "cpu", "--crop-ablation", crops, "--json")
        found[crops] = right(done)
    assert found == {"none": (1, 1), "counterfactual": (1, 1), "blank": (0, 1)}
