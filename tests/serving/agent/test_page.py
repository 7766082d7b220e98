"""The page of an agent endpoint: its files, and a reader who uses it in a browser, the real server behind it."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_page import WORDS, Model, assert_at, choose, finish, in_browser, placed, put, texts, visit  # fmt: skip
from agent_process import serving
from openai import OpenAI
from support.browser import Tab
from support.parsed import Page
from support.servers import MODEL

from virc.serving.agent import page

PICTURES = Path(__file__).resolve().parents[2] / "pictures"


# ---- the files


def test_files_name_each_other_and_nothing_outside() -> None:
    files = page.files(MODEL)
    kinds = {kind for kind, _ in files.values()}
    assert kinds == {f"text/{of}; charset=utf-8" for of in ("html", "css", "javascript")} | {"application/json"}
    html = Page(files["/"][1].decode())
    assert all(f"\n{rule} {{" in files["/page.css"][1].decode() for rule in ("body", ".frame img", ".answer"))
    assert [found["href"] for found in html.all("link") if found["rel"] == "stylesheet"] == ["page.css"]
    assert [found["src"] for found in html.all("script")] == ["page.js"]
    scripts = {path: content.decode() for path, (kind, content) in files.items() if "javascript" in kind}
    named = {path for text in scripts.values() for path in re.findall(r'from "\.(/[^"]+)"', text)}
    assert named | {"/page.js"} == set(scripts)
    for _, content in files.values():
        addresses = set(re.findall(r"https?://[^\s'\")]+", content.decode()))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nothing is loaded from


def test_policy_allows_nothing_that_the_page_does_not_need() -> None:
    rules = dict(rule.split(" ", 1) for rule in page.HEADERS["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in page.HEADERS["Content-Security-Policy"]


# ---- in a browser


@pytest.mark.integration
@in_browser
def test_thoughts_and_crops_appear_as_they_come_and_the_answer_last(
    browser: Tab, ask: Callable[[str], None], model: Model
) -> None:
    model.go.clear()
    put(browser, "How large? wait")
    browser.until("document.querySelector('.cut img')?.complete")
    assert texts(browser, ".thought") == ["I look at the middle."]
    assert texts(browser, ".answer") == []
    assert texts(browser, "#send") == ["Stop"]
    model.go.set()
    finish(browser)
    assert texts(browser, ".thought") == ["I look at the middle.", "I look closer.", "Now it is clear."]
    assert texts(browser, ".cut figcaption") == ["crop 1 of the picture", "crop 2 of crop 1"]
    assert texts(browser, ".answer") == ["97"]
    assert re.fullmatch(rf"{MODEL} · 2 looks · \d+ tokens( · \d+ s)?", texts(browser, ".cost")[0])
    assert browser.complaints == []


@pytest.mark.integration
@in_browser
def test_text_of_a_model_stays_text(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("hostile")
    shown = WORDS.strip().replace("\u202e", "[U+202E]").replace("\u0007", "[U+0007]")
    assert texts(browser, ".thought") == [shown] * 2
    assert texts(browser, ".answer") == [shown]
    assert browser.value("document.querySelectorAll('#log script, #log img[onerror]').length") == 0
    assert browser.value("document.title") == f"{MODEL} · virc"
    assert browser.complaints == []


def shown(browser: Tab) -> list[Any]:
    """The chat and the boxes on its pictures, as they stand."""
    found: list[Any] = browser.value(
        "[document.querySelector('#log').innerText, document.querySelector('#pictures').innerText,"
        "[...document.querySelectorAll('.box')].map(each => each.getAttribute('style')),"
        "[...document.querySelectorAll('img')].map(each => each.src)]"
    )
    return found


# ---- with a model


@pytest.fixture(scope="module")
def tiny() -> Iterator[str]:
    """The address of `virc serve tiny --agent` in a process of its own."""
    with serving("tiny", "--engine", "transformers", "--device", "cpu") as server:
        yield server.url.removesuffix("v1")


@pytest.mark.integration
@in_browser
@pytest.mark.slow
def test_page_shows_what_tiny_says_and_where_it_looks(browser: Tab, tiny: str) -> None:
    picture, question = PICTURES / "triangle.png", "What is m∠B in triangle MBH?"
    data = base64.b64encode(picture.read_bytes()).decode()
    content: Any = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "text", "text": question},
    ]
    completions = OpenAI(base_url=f"{tiny}v1", api_key="none").chat.completions
    whole = completions.create(model="tiny", messages=[{"role": "user", "content": content}])
    said = whole.choices[0].message.model_dump()
    looks = said["virc_tool_calls"]
    assert looks

    visit(browser, tiny, 1400)
    choose(browser, picture)
    put(browser, question)
    browser.until("document.body.dataset.running === 'false'", 60)
    assert texts(browser, ".answer") == [said["content"]]
    assert "\n\n".join(texts(browser, ".thought")) == said["reasoning_content"]
    assert browser.value("[...document.querySelectorAll('.cut img')].map(each => each.src)") == [
        look["url"] for look in looks
    ]
    for number, look in enumerate(look for look in looks if look["source"] == 0):
        box = f"#pictures .box:nth-of-type({number + 1})"
        assert_at(placed(browser, box, "#pictures .frame"), look["box"], look["source_size"])
    assert browser.complaints == []
