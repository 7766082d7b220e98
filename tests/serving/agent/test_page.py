"""The page of an agent endpoint: its files, and a reader who uses it in a browser, the real server behind it."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
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
    answer,
    assert_at,
    choose,
    crop,
    finish,
    in_browser,
    page_of,
    placed,
    put,
    texts,
    visit,
)  # fmt: skip
from agent_process import serving
from agent_server import OWN, scripted
from openai import OpenAI
from PIL import Image
from support.browser import Tab
from support.parsed import Page
from support.servers import MODEL, error, turn_of

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


def test_page_has_no_script_or_style_inside() -> None:
    html = Page(page.files(MODEL)["/"][1].decode())
    assert not any(key.startswith("on") or key == "style" for _, found in html.elements for key in found)
    assert [data.strip() for tag, data in html.texts if tag == "script" and data.strip()] == []
    assert html.all("style") == []


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
def test_stopped_question_can_be_asked_again(browser: Tab, ask: Callable[[str], None], model: Model) -> None:
    model.go.clear()
    browser.type("How large? wait")
    for turn, stop in enumerate(("document.querySelector('#send').click()", None), 1):
        browser.press("Enter")
        browser.until(f"document.querySelector('.turn:nth-child({turn}) .cut') !== null")
        browser.value(stop) if stop else browser.press("Escape")
        finish(browser)
        assert texts(browser, ".failed") == ["Stopped"] * turn
        assert browser.value("document.querySelector('#question').value") == "How large? wait"
        browser.value("document.querySelector('#question').focus()")
    model.go.set()
    browser.press("Enter")
    finish(browser)
    assert texts(browser, ".answer") == ["97"]


@pytest.mark.integration
@in_browser
def test_several_results_texts_and_errors_stand_beside_their_thought(browser: Tab, picture: Path) -> None:
    grammar = msgspec.structs.replace(OWN.grammar, most_calls=2)
    protocol = msgspec.structs.replace(OWN, errors="show", grammar=grammar)
    both = crop("Both.", FIRST, 0) + crop("", SECOND, 1).partition("</think>")[2]
    replies = [both, crop("A third.", FIRST, 7), answer("97")]
    with scripted(lambda body: replies[turn_of(body)], protocol=protocol) as running:
        visit(browser, page_of(running), 1400)
        choose(browser, picture)
        put(browser, "How large?")
        finish(browser)
        assert texts(browser, ".thought") == ["Both.", "A third.", "Now it is clear."]
        assert texts(browser, ".step:first-child figcaption") == ["crop 1 of the picture", "crop 2 of crop 1"]
        (refused,) = texts(browser, ".step:nth-child(2) .said")
        assert "there are 3" in refused or "0 to 2" in refused
        for width in (1400, 360):
            browser.resize(width)
            sides = [
                browser.value(f"document.querySelector('.step:nth-child({at}) {css}').getBoundingClientRect().left")
                for at, css in ((1, ".cut"), (1, ".cut + .cut"), (2, ".said"))
            ]
            assert sides == [sides[0]] * 3
            assert browser.value("document.querySelector('.thought').getBoundingClientRect().right") <= sides[0]
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
@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1400, "dark")])
def test_nothing_is_wider_than_the_window(browser: Tab, site: str, picture: Path, width: int, scheme: str) -> None:
    visit(browser, site, width, scheme)
    ground = browser.value("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(252, 252, 250)", "dark": "rgb(21, 23, 27)"}[scheme]
    choose(browser, picture, picture, picture)
    put(browser, "hostile " + WORDS)
    finish(browser)
    assert len(texts(browser, ".answer")) == 1
    assert 0 < browser.value("document.documentElement.scrollWidth") <= width
    assert browser.complaints == []


@pytest.mark.integration
@in_browser
def test_picture_that_is_looked_at_comes_into_sight_on_a_phone(browser: Tab, site: str, picture: Path) -> None:
    visit(browser, site, 390)
    choose(browser, picture, picture, picture)
    place = "document.querySelectorAll('#pictures .frame')[2].getBoundingClientRect()"
    assert browser.value(f"{place}.left") > 390
    put(browser, "Which is the third?")
    finish(browser)
    assert browser.value(f"{place}.left") >= 0
    assert browser.value(f"{place}.right") <= 390
    assert browser.value("document.querySelectorAll('#pictures figure:nth-child(3) .box').length") == 1


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
@pytest.mark.parametrize(
    ("question", "why"),
    [("useless", r"4 replies in a row could not be used; the last: .+\."), ("unsure", r"The model answered ''\.")],
)
def test_no_answer_is_one_sentence(browser: Tab, ask: Callable[[str], None], question: str, why: str) -> None:
    ask(question)
    (said,) = texts(browser, ".failed p")
    assert re.fullmatch(why, said)
    assert texts(browser, ".answer") == []


@pytest.mark.integration
@in_browser
def test_what_the_model_says_instead_of_an_answer_stands_before_the_sentence_why(
    browser: Tab, ask: Callable[[str], None]
) -> None:
    ask("too small")
    said, why = texts(browser, ".failed p")
    assert said == "Unreadable"
    assert why.startswith("The model answered 'Unreadable'")
    assert texts(browser, ".answer") == []


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
def test_more_pictures_than_the_server_takes_is_one_sentence(
    browser: Tab, ask: Callable[[str], None], picture: Path
) -> None:
    choose(browser, *[picture] * 4)
    ask("How large?")
    (said,) = texts(browser, ".failed p")
    assert re.fullmatch(r"At most 4 images [^.]+\.", said)
    browser.value("document.querySelector('.remove').click()")
    assert texts(browser, "#pictures figcaption")[0].startswith("Picture 1 · picture.png")
    browser.value("document.querySelector('#question').focus()")
    browser.press("Enter")
    finish(browser)
    assert texts(browser, ".answer") == ["97"]


@pytest.mark.integration
@in_browser
def test_pictures_are_pasted_and_dropped(browser: Tab, site: str, picture: Path) -> None:
    visit(browser, site, 1400)
    data = base64.b64encode(picture.read_bytes()).decode()
    browser.value(
        f"(() => {{ const bytes = Uint8Array.from(atob('{data}'), each => each.charCodeAt());"
        "const file = new File([bytes], 'held.png', {type: 'image/png'});"
        "const held = new DataTransfer(); held.items.add(file); const more = {bubbles: true, cancelable: true};"
        "document.querySelector('#question').dispatchEvent("
        "new ClipboardEvent('paste', {clipboardData: held, ...more}));"
        "document.querySelector('.drop').dispatchEvent(new DragEvent('drop', {dataTransfer: held, ...more})) })()"
    )
    browser.until("document.querySelectorAll('#pictures img').length === 2")
    assert texts(browser, "#pictures figcaption") == [f"Picture {at} · held.png×" for at in (1, 2)]


@pytest.mark.integration
@in_browser
def test_file_that_is_no_picture_is_said(browser: Tab, site: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("no picture")
    visit(browser, site, 1400)
    browser.choose("#file", file)
    said = browser.until("document.querySelector('#note').textContent")
    assert said == "notes.png is no picture that this browser can show."
    browser.value("document.querySelector('#question').focus()")
    put(browser, "How large?")
    assert texts(browser, "#note") == ["Choose a picture first."]


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


@pytest.mark.integration
@in_browser
@pytest.mark.slow
def test_tiny_answers_its_examples(browser: Tab, tiny: str) -> None:
    for number, expected in enumerate(("85", "80", "34")):
        visit(browser, tiny, 1400)
        browser.value(f"document.querySelectorAll('.example')[{number}].click()")
        browser.until("document.activeElement.id === 'send'")
        browser.press("Enter")
        browser.until("document.body.dataset.running === 'true' || document.querySelector('.cost') !== null")
        browser.until("document.body.dataset.running === 'false'", 60)
        assert texts(browser, ".answer") == [expected]
        assert browser.value("document.querySelectorAll('#pictures .box').length") > 1
