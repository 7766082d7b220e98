"""The page of an agent endpoint: its files, and a reader who uses it in a browser, the real server behind it."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_page import (
    FIRST,
    HEIGHT,
    KEPT,
    LOOKS,
    SECOND,
    WIDTH,
    WORDS,
    Model,
    assert_at,
    choose,
    finish,
    in_browser,
    page_of,
    placed,
    put,
    texts,
    visit,
)  # fmt: skip
from agent_process import serving
from agent_server import scripted
from openai import OpenAI
from PIL import Image
from support.browser import Tab
from support.parsed import Page
from support.servers import MODEL, error

from virc.serving.agent import page

PICTURES = Path(__file__).resolve().parents[2] / "pictures"
KEY = "sesame"


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
def test_boxes_lie_where_the_crops_were_cut_at_every_width(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("How large?")
    for width in (1400, 700, 360):
        browser.resize(width)
        for box, frame, cut, size in (
            ("#pictures .box", "#pictures .frame", FIRST, (WIDTH, HEIGHT)),
            (".cut .box", ".cut .frame:has(.box)", SECOND, (FIRST[2] - FIRST[0], FIRST[3] - FIRST[1])),
        ):
            assert_at(placed(browser, box, frame), cut, size)
    shown = browser.value("document.querySelector('.cut img').src")
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as image:
        assert image.size == (FIRST[2] - FIRST[0], FIRST[3] - FIRST[1])


@pytest.mark.integration
@in_browser
def test_follow_up_stands_on_what_was_said(browser: Tab, ask: Callable[[str], None], model: Model) -> None:
    ask("How large is it?")
    model.questions.clear()
    ask("Say it in words.")
    assert texts(browser, ".answer") == ["97", "ninety-seven"]
    assert len(model.questions) == 1
    assert all(said in model.questions[0] for said in ("How large is it?", "97", "Say it in words."))
    seen = "[...document.querySelectorAll('#pictures .box')].map(each => getComputedStyle(each).opacity)"
    assert browser.value(seen) == ["0", "1"]  # those of the first answer
    where = "document.querySelectorAll('.where')[{}].focus()"
    for number, opacities in ((2, ["0", "1"]), (0, ["1", "0.25"])):  # come back to who asks where a crop was
        browser.value(where.format(number))
        assert browser.value(seen) == opacities


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


@pytest.mark.integration
@in_browser
def test_policy_forbids_scripts_and_html_made_of_text(browser: Tab, site: str) -> None:
    visit(browser, site, 1400)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "const made = document.createElement('script'); made.text = 'document.title = 1'; document.body.append(made)",
        "document.body.setAttribute('onclick', 'document.title = 1'); document.body.click()",
    ):
        browser.value(f"try {{ {attempt} }} catch {{}}")
    assert browser.value("document.title") != "1"
    assert browser.value("document.querySelector('b, script:not([src])')") is None


@pytest.mark.integration
@in_browser
def test_api_key_is_asked_for_until_it_is_right(browser: Tab, picture: Path) -> None:
    with scripted(LOOKS, served={"api_key": KEY}) as running:
        visit(browser, page_of(running), 1400)
        browser.until("document.querySelector('#door').open")
        browser.press("Escape")
        assert browser.until("document.querySelector('#note').textContent") == "The server wants its API key."
        choose(browser, picture)
        put(browser, "How large?")
        for key, why in (("wrong", "This server asks"), (KEY, "The server did not take")):
            browser.until(f"document.querySelector('#why').textContent.startsWith({why!r})")
            browser.until("document.querySelector('#door').open && document.activeElement.id === 'key'")
            assert running.behind.chats() == []
            browser.type(key)
            browser.press("Enter")
        finish(browser)
        assert texts(browser, ".answer") == ["97"]
        assert texts(browser, "#model") == [MODEL]
        assert browser.value("[Object.values(sessionStorage), localStorage.length]") == [[KEY], 0]
        assert KEY not in browser.value(f"{KEPT}.then(JSON.stringify)")
        assert KEY not in browser.value("document.documentElement.outerHTML")


@pytest.mark.integration
@in_browser
def test_trouble_is_one_sentence(browser: Tab, picture: Path) -> None:
    def broken(exchange: Any) -> None:
        exchange.send_json(error("out of memory at 0x1234"), 500)

    with scripted(LOOKS, {"fault": broken}) as running:
        visit(browser, page_of(running), 1400)
        choose(browser, picture)
        put(browser, "How large?")
        finish(browser)
    browser.press("Enter")  # the question has come back
    finish(browser)
    behind, gone = texts(browser, ".failed p")
    assert re.fullmatch(r"The model [^.]+\.", behind)
    assert gone == "The server cannot be reached."


@pytest.mark.integration
@in_browser
def test_keyboard_reaches_everything_and_everything_has_a_name(browser: Tab, ask: Callable[[str], None]) -> None:
    browser.type("How")
    browser.press("Enter", shift=True)
    browser.type("large?")
    assert browser.value("document.querySelector('#question').value") == "How\nlarge?"
    browser.press("Enter")
    finish(browser)
    reached = []
    for _ in range(12):
        browser.press("Tab")
        reached.append(
            browser.value(
                "(() => { const at = document.activeElement; return [at.id || at.className,"
                "getComputedStyle(at.closest('.add') ?? at).outlineStyle] })()"
            )
        )
    named = [name for name, _ in reached]
    assert {"send", "again", "where", "enlarge", "file"} <= set(named)
    assert [name for name, line in reached if name and line != "solid"] == []
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    for role in ("button", "textbox", "image", "log"):
        found = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == role]
        assert found, role
        assert all(found), role


def shown(browser: Tab) -> list[Any]:
    """The chat and the boxes on its pictures, as they stand."""
    found: list[Any] = browser.value(
        "[document.querySelector('#log').innerText, document.querySelector('#pictures').innerText,"
        "[...document.querySelectorAll('.box')].map(each => each.getAttribute('style')),"
        "[...document.querySelectorAll('img')].map(each => each.src)]"
    )
    return found


@pytest.mark.integration
@in_browser
def test_example_fills_in_a_picture_and_its_question(browser: Tab, site: str, model: Model) -> None:
    visit(browser, site, 1400)
    model.questions.clear()
    assert texts(browser, ".example span") == [each.question for each in page.examples("another")]
    browser.value("document.querySelectorAll('.example')[1].focus()")
    browser.press("Enter")
    browser.until("document.activeElement.id === 'send'")
    wanted = page.examples("another")[1]
    assert browser.value("document.querySelector('#question').value") == wanted.question
    assert browser.value("[...document.querySelectorAll('#pictures img')].map(each => each.src)") == [wanted.url]
    assert browser.value("document.querySelector('.example').checkVisibility()") is False
    assert model.questions == []  # not before the reader asks
    browser.press("Enter")
    finish(browser)
    assert [f"Question: {wanted.question}\n" in question for question in model.questions] == [True]


@pytest.mark.integration
@in_browser
def test_chat_outlasts_a_reload_and_goes_on(browser: Tab, ask: Callable[[str], None], model: Model) -> None:
    ask("How large is it?")
    ask("too small")
    before = shown(browser)
    browser.until(f"{KEPT}.then(chat => chat?.turns.length === 2 && chat.turns[1].events.length > 2)")
    model.questions.clear()
    browser.reload()
    browser.until("document.querySelectorAll('.cost').length === 2")
    assert shown(browser) == before
    assert model.questions == []  # the server is asked nothing
    assert browser.complaints == []
    browser.value("document.querySelector('#question').focus()")
    put(browser, "Say it in words.")
    finish(browser)
    assert texts(browser, ".answer") == ["97", "ninety-seven"]
    assert all(said in model.questions[0] for said in ("How large is it?", "97", "Say it in words."))
    assert "too small" not in model.questions[0]


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
