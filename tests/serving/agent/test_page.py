"""The page of an agent endpoint: its files, and a reader who uses it in a browser, the real server behind it."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_process import serving
from agent_server import scripted
from openai import OpenAI
from support.browser import Tab, in_browser
from support.parsed import HOSTILE
from support.servers import MODEL

from virc.serving.agent import page

PICTURE = Path(__file__).resolve().parents[2] / "pictures" / "triangle.png"


def test_policy_allows_nothing_that_the_page_does_not_need() -> None:
    rules = dict(rule.split(" ", 1) for rule in page.HEADERS["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in page.HEADERS["Content-Security-Policy"]


def ask(browser: Tab, site: str, question: str) -> None:
    """Open the page as one who has never been there, and ask about the picture."""
    browser.open("about:blank", 1400)  # else the page before could still keep its chat
    browser.call("Storage.clearDataForOrigin", origin=site, storageTypes="all")
    browser.open(site, 1400)
    browser.until("document.querySelectorAll('.example').length === 3")
    browser.choose("#file", PICTURE)
    browser.until("document.activeElement.id === 'question'")
    browser.type(question)
    browser.press("Enter")
    browser.until("document.body.dataset.running === 'false'", 60)


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


@pytest.mark.integration
@in_browser
def test_text_of_a_model_stays_text(browser: Tab) -> None:
    words = HOSTILE + "".join(map(str, range(400)))
    call = '{"name": "crop_image", "arguments": {"bbox_2d": [56, 28, 150, 160], "image_index": 0}}'
    turns = [f"<think>{words}</think><tool_call>{call}</tool_call>", f"<think>{words}</think><answer>{words}</answer>"]
    with scripted(turns) as running:
        ask(browser, running.url.removesuffix("v1"), "hostile")
    shown = words.strip().replace("\u202e", "[U+202E]").replace("\u0007", "[U+0007]")
    assert texts(browser, ".thought") == [shown] * 2
    assert texts(browser, ".answer") == [shown]
    assert browser.value("document.querySelectorAll('#log script, #log img[onerror]').length") == 0
    assert browser.value("document.title") == f"{MODEL} · virc"
    assert browser.complaints == []


@pytest.mark.integration
@in_browser
@pytest.mark.slow
def test_page_shows_what_tiny_says_and_where_it_looks(browser: Tab) -> None:
    question = "What is m∠B in triangle MBH?"
    data = base64.b64encode(PICTURE.read_bytes()).decode()
    content: Any = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "text", "text": question},
    ]
    with serving("tiny", "--engine", "transformers", "--device", "cpu") as server:
        completions = OpenAI(base_url=server.url, api_key="none").chat.completions
        whole = completions.create(model="tiny", messages=[{"role": "user", "content": content}])
        ask(browser, server.url.removesuffix("v1"), question)
    said = whole.choices[0].message.model_dump()
    looks = said["virc_tool_calls"]
    assert looks
    assert texts(browser, ".answer") == [said["content"]]
    assert "\n\n".join(texts(browser, ".thought")) == said["reasoning_content"]
    assert browser.value("[...document.querySelectorAll('.cut img')].map(each => each.src)") == [
        look["url"] for look in looks
    ]
    for number, look in enumerate(look for look in looks if look["source"] == 0):
        box = f"#pictures .box:nth-of-type({number + 1})"
        assert_at(placed(browser, box, "#pictures .frame"), look["box"], look["source_size"])
    assert browser.complaints == []
