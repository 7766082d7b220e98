"""The page of an agent endpoint: its files, and a reader who uses it in a browser, the real server behind it."""

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_process import serving
from agent_server import Running, scripted
from openai import OpenAI
from PIL import Image
from support.browser import CHROMIUM, Tab, tab
from support.parsed import HOSTILE, Page
from support.servers import MODEL, error, turn_of

from virc.serving.agent import page

pytestmark = pytest.mark.integration

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
PICTURES = Path(__file__).resolve().parents[2] / "pictures"
WIDTH, HEIGHT = 448, 336
FIRST, SECOND = (56, 28, 280, 196), (28, 56, 140, 140)
WORDS = HOSTILE + "".join(map(str, range(400)))
KEY = "sesame"


def think(thought: str, then: str) -> str:
    return f"<think>\n{thought}\n</think>\n{then}"


def crop(thought: str, box: tuple[int, ...], index: int) -> str:
    call = {"name": "crop_image", "arguments": {"bbox_2d": box, "image_index": index}}
    return think(thought, f"<tool_call>\n{json.dumps(call)}\n</tool_call>")


def answer(text: str, thought: str = "Now it is clear.") -> str:
    return think(thought, f"<answer>\n{text}\n</answer>")


LOOKS = [crop("I look at the middle.", FIRST, 0), crop("I look closer.", SECOND, 1), answer("97")]
SCENES: dict[str, list[str]] = {
    "How large": LOOKS,
    "in words": [crop("Once more.", SECOND, 0), answer("ninety-seven")],
    "hostile": [crop(WORDS, FIRST, 0), answer(WORDS, WORDS)],
    "third": [crop("It is on the third.", SECOND, 2), answer("98")],
    "useless": ["no tags at all"] * 4,
    "unsure": [answer("", "I cannot see it.")],
    "too small": [answer("Unreadable", "I cannot read it.")],
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


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[str]:
    with scripted(model, at_once=4) as running:
        yield page_of(running)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.radial_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(path)
    return path


@pytest.fixture
def ask(browser: Tab, site: str, picture: Path) -> Callable[[str], None]:
    """Opens the page with a picture, and asks questions from then on."""
    browser.open(site, 1400)
    choose(browser, picture)

    def asked(question: str) -> None:
        put(browser, question)
        finish(browser)

    return asked


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


# ---- the files


def test_files_name_each_other_and_nothing_outside() -> None:
    files = page.files()
    assert {path: kind for path, (kind, _) in files.items()} == {
        "/": "text/html; charset=utf-8",
        "/page.css": "text/css; charset=utf-8",
        "/page.js": "text/javascript; charset=utf-8",
    }
    html = Page(files["/"][1].decode())
    assert [found["href"] for found in html.all("link") if found["rel"] == "stylesheet"] == ["page.css"]
    assert [found["src"] for found in html.all("script")] == ["page.js"]
    for _, content in files.values():
        addresses = set(re.findall(r"https?://[^\s'\")]+", content.decode()))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nothing is loaded from


def test_page_has_no_script_or_style_inside() -> None:
    html = Page(page.files()["/"][1].decode())
    assert not any(key.startswith("on") or key == "style" for _, found in html.elements for key in found)
    assert [data.strip() for tag, data in html.texts if tag == "script" and data.strip()] == []
    assert html.all("style") == []


def test_policy_allows_nothing_that_the_page_does_not_need() -> None:
    rules = dict(rule.split(" ", 1) for rule in page.HEADERS["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in page.HEADERS["Content-Security-Policy"]


# ---- in a browser


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
    assert texts(browser, ".cut figcaption") == ["1 crop 56,28–280,196 of image 0", "2 crop 28,56–140,140 of image 1"]
    assert texts(browser, ".answer") == ["97"]
    assert re.fullmatch(r"2 looks · \d+ tokens( · \d+ s)?", texts(browser, ".cost")[0])
    assert browser.complaints == []


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


@in_browser
def test_text_of_a_model_stays_text(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("hostile")
    shown = WORDS.strip().replace("\u202e", "[U+202E]").replace("\u0007", "[U+0007]")
    assert texts(browser, ".thought") == [shown] * 2
    assert texts(browser, ".answer") == [shown]
    assert browser.value("document.querySelectorAll('#log script, #log img[onerror]').length") == 0
    assert browser.value("document.title") == f"{MODEL} · virc"
    assert browser.complaints == []


@in_browser
def test_policy_forbids_scripts_and_html_made_of_text(browser: Tab, site: str) -> None:
    browser.open(site, 1400)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "const made = document.createElement('script'); made.text = 'document.title = 1'; document.body.append(made)",
        "document.body.setAttribute('onclick', 'document.title = 1'); document.body.click()",
    ):
        browser.value(f"try {{ {attempt} }} catch {{}}")
    assert browser.value("document.title") != "1"
    assert browser.value("document.querySelector('b, script:not([src])')") is None


@in_browser
@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1400, "dark")])
def test_nothing_is_wider_than_the_window(browser: Tab, site: str, picture: Path, width: int, scheme: str) -> None:
    browser.open(site, width, scheme)
    ground = browser.value("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(252, 252, 250)", "dark": "rgb(21, 23, 27)"}[scheme]
    choose(browser, picture, picture, picture)
    put(browser, "hostile " + WORDS)
    finish(browser)
    assert len(texts(browser, ".answer")) == 1
    assert 0 < browser.value("document.documentElement.scrollWidth") <= width
    assert browser.complaints == []


@in_browser
def test_picture_that_is_looked_at_comes_into_sight_on_a_phone(browser: Tab, site: str, picture: Path) -> None:
    browser.open(site, 390)
    choose(browser, picture, picture, picture)
    place = "document.querySelectorAll('#pictures .frame')[2].getBoundingClientRect()"
    assert browser.value(f"{place}.left") > 390
    put(browser, "Which is the third?")
    finish(browser)
    assert browser.value(f"{place}.left") >= 0
    assert browser.value(f"{place}.right") <= 390
    assert browser.value("document.querySelectorAll('#pictures figure:nth-child(3) .box').length") == 1


@in_browser
def test_api_key_is_asked_for_until_it_is_right(browser: Tab, picture: Path) -> None:
    with scripted(LOOKS, served={"api_key": KEY}) as running:
        browser.open(page_of(running), 1400)
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
        assert KEY not in browser.value("document.documentElement.outerHTML")


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


@in_browser
def test_what_the_model_says_instead_of_an_answer_stands_before_the_sentence_why(
    browser: Tab, ask: Callable[[str], None]
) -> None:
    ask("too small")
    said, why = texts(browser, ".failed p")
    assert said == "Unreadable"
    assert why.startswith("The model answered 'Unreadable'")
    assert texts(browser, ".answer") == []


@in_browser
def test_trouble_is_one_sentence(browser: Tab, picture: Path) -> None:
    def broken(exchange: Any) -> None:
        exchange.send_json(error("out of memory at 0x1234"), 500)

    with scripted(LOOKS, {"fault": broken}) as running:
        browser.open(page_of(running), 1400)
        choose(browser, picture)
        put(browser, "How large?")
        finish(browser)
    browser.press("Enter")  # the question has come back
    finish(browser)
    behind, gone = texts(browser, ".failed p")
    assert re.fullmatch(r"The model [^.]+\.", behind)
    assert gone == "The server cannot be reached."


@in_browser
def test_more_pictures_than_the_server_takes_is_one_sentence(
    browser: Tab, ask: Callable[[str], None], picture: Path
) -> None:
    choose(browser, *[picture] * 4)
    ask("How large?")
    (said,) = texts(browser, ".failed p")
    assert re.fullmatch(r"At most 4 images [^.]+\.", said)
    browser.value("document.querySelector('.remove').click()")
    assert texts(browser, "#pictures figcaption")[0].startswith("Image 0 · picture.png")
    browser.value("document.querySelector('#question').focus()")
    browser.press("Enter")
    finish(browser)
    assert texts(browser, ".answer") == ["97"]


@in_browser
def test_pictures_are_pasted_and_dropped(browser: Tab, site: str, picture: Path) -> None:
    browser.open(site, 1400)
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
    assert texts(browser, "#pictures figcaption") == [f"Image {at} · held.png · {WIDTH} × {HEIGHT} px" for at in (0, 1)]


@in_browser
def test_file_that_is_no_picture_is_said(browser: Tab, site: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("no picture")
    browser.open(site, 1400)
    browser.choose("#file", file)
    said = browser.until("document.querySelector('#note').textContent")
    assert said == "notes.png is no picture that this browser can show."
    browser.value("document.querySelector('#question').focus()")
    put(browser, "How large?")
    assert texts(browser, "#note") == ["Choose a picture first."]


@in_browser
def test_keyboard_reaches_everything_and_everything_has_a_name(browser: Tab, ask: Callable[[str], None]) -> None:
    browser.type("How")
    browser.press("Enter", shift=True)
    browser.type("large?")
    assert browser.value("document.querySelector('#question').value") == "How\nlarge?"
    browser.press("Enter")
    finish(browser)
    reached = []
    for _ in range(6):
        browser.press("Tab")
        reached.append(
            browser.value(
                "(() => { const at = document.activeElement; return [at.id || at.className,"
                "getComputedStyle(at.closest('.add') ?? at).outlineStyle] })()"
            )
        )
    named = [name for name, _ in reached]
    assert {"send", "again", "where", "file"} <= set(named)
    assert all(line == "solid" for name, line in reached if name in {"send", "again", "where", "file"})
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

    browser.open(tiny, 1400)
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
