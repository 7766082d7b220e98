"""A reader of an agent endpoint's page, in a browser, and the scripted model that answers."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_server import Running
from support.browser import CHROMIUM, Tab
from support.parsed import HOSTILE
from support.servers import turn_of

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
WIDTH, HEIGHT = 448, 336
FIRST, SECOND = (56, 28, 280, 196), (28, 56, 140, 140)
WORDS = HOSTILE + "".join(map(str, range(400)))


def think(thought: str, then: str) -> str:
    return f"<think>\n{thought}\n</think>\n{then}"


def look(thought: str, tool: str, **arguments: Any) -> str:
    call = {"name": tool, "arguments": arguments}
    return think(thought, f"<tool_call>\n{json.dumps(call)}\n</tool_call>")


def crop(thought: str, box: tuple[int, ...], index: int) -> str:
    return look(thought, "crop_image", bbox_2d=box, image_index=index)


def answer(text: str, thought: str = "Now it is clear.") -> str:
    return think(thought, f"<answer>\n{text}\n</answer>")


LOOKS = [crop("I look at the middle.", FIRST, 0), crop("I look closer.", SECOND, 1), answer("97")]
SCENES: dict[str, list[str]] = {
    "How large": LOOKS,
    "hostile": [crop(WORDS, FIRST, 0), answer(WORDS, WORDS)],
    "wait": LOOKS,
}
"""Words of a question -> the model's replies to it."""


class Model:
    """A scripted model: where the question says wait, it waits before its second turn until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.questions: list[str] = []

    def __call__(self, body: dict[str, Any]) -> str:
        texts = [part["text"] for part in body["messages"][1]["content"] if part["type"] == "text"]
        question, turn = "".join(texts), turn_of(body)
        if turn == 0:
            self.questions.append(question)
        if "wait" in question and turn == 1:
            self.go.wait(30)
        scene = max((question.rfind(words), words) for words in SCENES)[1]
        return SCENES[scene][min(turn, len(SCENES[scene]) - 1)]


def visit(browser: Tab, site: str, width: int, scheme: str = "light", **how: Any) -> None:
    """Open the page as one who has never been there."""
    browser.open("about:blank", width)  # else the page before could still keep its chat
    browser.call("Storage.clearDataForOrigin", origin=site, storageTypes="all")
    browser.open(site, width, scheme, **how)
    browser.until("document.querySelectorAll('.example').length === 3")


def choose(browser: Tab, *pictures: Path) -> None:
    before = browser.value("document.querySelectorAll('#pictures img').length")
    browser.choose("#file", *pictures)
    browser.until(f"document.querySelectorAll('#pictures img').length === {before + len(pictures)}")
    browser.until("document.activeElement.id === 'question'")


def put(browser: Tab, question: str) -> None:
    browser.type(question)
    browser.press("Enter")


def finish(browser: Tab) -> None:
    browser.until("document.body.dataset.running === 'false'")


def texts(browser: Tab, selector: str) -> list[str]:
    found: list[str] = browser.value(f"[...document.querySelectorAll({selector!r})].map(each => each.textContent)")
    return found


def placed(browser: Tab, box: str, frame: str) -> list[float]:
    """Where a box lies in its frame: left, top, right, bottom in px, and the frame's width and height."""
    found: list[float] = browser.value(
        f"(() => {{ const box = document.querySelector({box!r}).getBoundingClientRect();"
        f"const frame = document.querySelector({frame!r}).getBoundingClientRect();"
        "return [box.left - frame.left, box.top - frame.top, box.right - frame.left, box.bottom - frame.top,"
        "frame.width, frame.height] })()"
    )
    return found


def assert_at(at: list[float], box: Sequence[int], size: Sequence[int]) -> None:
    """A box as `placed` gives it lies where it does in an image of that size."""
    *corners, across, down = at
    assert across > 100
    assert across / down == pytest.approx(size[0] / size[1], rel=0.02)
    x, y = across / size[0], down / size[1]
    assert corners == pytest.approx([box[0] * x, box[1] * y, box[2] * x, box[3] * y], abs=1)


def page_of(running: Running) -> str:
    return running.url.removesuffix("v1")
