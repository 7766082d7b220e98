"""What the page of an agent endpoint does for its reader, in a browser, the real server behind it."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_page import HEIGHT, KEPT, WIDTH, Model, choose, finish, in_browser, put, texts, visit  # fmt: skip
from PIL import Image
from support.browser import Tab

from virc.serving.agent import page as agent_page

pytestmark = [pytest.mark.integration, in_browser]

IN_SIGHT = """(selector => {
  const at = document.querySelector(selector), box = at.getBoundingClientRect();
  const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  return box.top >= 0 && box.bottom <= innerHeight && (at === hit || at.contains(hit)) })"""
"""Of an element, whether it is in the window and nothing lies over it."""
BETWEEN = """(() => {
  const top = document.querySelector('.question').getBoundingClientRect().bottom;
  const bottom = document.querySelector('#ask').getBoundingClientRect().top;
  const hit = document.elementFromPoint(document.querySelector('.talk').getBoundingClientRect().left + 20, top + 20);
  return hit.closest('.steps') ? bottom - top : 0 })()"""
"""How much of the answer is seen between the question and the bar, px; 0 where something else lies there."""
FILLED = """(() => {
  const figure = document.querySelector('#large figure').getBoundingClientRect();
  const frame = document.querySelector('#large .frame').getBoundingClientRect();
  return Math.max(frame.width / figure.width, frame.height / (innerHeight - 176)) })()"""
"""How much of its room an enlarged crop takes."""
FOCUSED = """(() => {
  const at = document.activeElement, ring = at.closest('.add') ?? at, box = ring.getBoundingClientRect();
  const hit = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height, innerHeight) / 2);
  return [at.id || at.className, getComputedStyle(ring).outlineStyle, ring.contains(hit)] })()"""
CONTRASTS = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(each => each / 255)
    .map(each => each <= .04045 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [.2126, .7152, .0722][at], 0);
  const ground = at => { const colour = getComputedStyle(at).backgroundColor;
    return numbers(colour)[3] === 0 && at.parentElement ? ground(at.parentElement) : colour };
  const contrast = (colour, at) => { const [one, other] = [light(colour), light(ground(at))].sort((a, b) => b - a);
    return (one + .05) / (other + .05) };
  const hint = document.querySelector('#question');
  const texts = [...document.querySelectorAll('body *')]
    .filter(at => at.checkVisibility() && [...at.childNodes].some(each => each.nodeType === 3 && each.data.trim()))
    .map(at => [at.textContent.slice(0, 30), contrast(getComputedStyle(at).color, at)]);
  return [...texts, [hint.placeholder, contrast(getComputedStyle(hint, '::placeholder').color, hint)]] })()"""
"""Each visible text, and its contrast as WCAG has it."""


def rest(browser: Tab, model: Model, question: str) -> None:
    """Ask what the model waits in, and wait for what comes before."""
    model.go.clear()
    put(browser, question)
    browser.until("document.querySelector('.turn:last-child .cut img')?.complete")


def shown(browser: Tab) -> list[Any]:
    """The chat and the boxes on its pictures, as they stand."""
    found: list[Any] = browser.value(
        "[document.querySelector('#log').innerText, document.querySelector('#pictures').innerText,"
        "[...document.querySelectorAll('.box')].map(each => each.getAttribute('style')),"
        "[...document.querySelectorAll('img')].map(each => each.src)]"
    )
    return found


# ---- examples


@pytest.mark.parametrize("model", ["tiny", "another"])
def test_examples_are_three_small_pictures_each_with_a_question(model: str) -> None:
    found = agent_page.examples(model)
    assert len({each.question for each in found}) == len({each.url for each in found}) == 3
    for each in found:
        with Image.open(io.BytesIO(base64.b64decode(each.url.partition(",")[2]))) as picture:
            assert max(picture.size) <= (252 if model == "tiny" else 1008)
        assert len(each.url) < 50_000


@pytest.mark.parametrize("number", [0, 1, 2])
def test_example_fills_in_a_picture_and_its_question(browser: Tab, site: str, model: Model, number: int) -> None:
    visit(browser, site, 1400)
    model.questions.clear()
    assert texts(browser, ".example span") == [each.question for each in agent_page.examples("another")]
    browser.value(f"document.querySelectorAll('.example')[{number}].focus()")
    browser.press("Enter")
    browser.until("document.activeElement.id === 'send'")
    wanted = agent_page.examples("another")[number]
    assert browser.value("document.querySelector('#question').value") == wanted.question
    assert browser.value("[...document.querySelectorAll('#pictures img')].map(each => each.src)") == [wanted.url]
    assert browser.value("document.querySelector('.example').checkVisibility()") is False
    assert model.questions == []  # not before the reader asks
    browser.press("Enter")
    finish(browser)
    assert [f"Question: {wanted.question}\n" in question for question in model.questions] == [True]


# ---- what stays in sight, and what labels leave free


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 568), (640, 360)])
def test_question_and_bar_stay_in_sight_while_the_answer_streams(
    browser: Tab, site: str, picture: Path, model: Model, width: int, height: int
) -> None:
    visit(browser, site, width, height=height)
    choose(browser, picture)
    rest(browser, model, "What does it show, described at length, and how large is it? wait, and say it at length")
    for place in (0, 0.5, 1):
        browser.value(f"scrollTo(0, {place} * (document.documentElement.scrollHeight - innerHeight))")
        if place:  # the question is not above all of the page
            assert browser.value(f"{IN_SIGHT}('.question')"), place
            assert height < 480 or browser.value(f"{IN_SIGHT}('#pictures .frame')"), place
            assert browser.value(BETWEEN) > 100, place
        assert browser.value(f"['#question', '#send', '.add'].every({IN_SIGHT})"), place
    model.go.set()
    finish(browser)


@pytest.mark.parametrize("width", [1400, 360])
def test_label_of_a_box_never_covers_what_is_inside(browser: Tab, ask: Callable[[str], None], width: int) -> None:
    browser.resize(width)
    ask("edges")
    for place in ("#pictures", ".cut", "#large"):
        if place == "#large":
            browser.value("document.querySelector('#pictures .enlarge').click()")
        covered = browser.value(
            f"[...document.querySelectorAll('{place} .box:not(.past)')].map(each => {{"
            "const box = each.getBoundingClientRect(), label = each.firstChild.getBoundingClientRect();"
            "const over = (from, to) => Math.min(box[to], label[to]) - Math.max(box[from], label[from]);"
            "return Math.min(over('left', 'right'), over('top', 'bottom')) })"
        )
        assert len(covered) == {"#pictures": 5, ".cut": 1, "#large": 5}[place]
        assert max(covered) <= 0
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.press("Escape")


def test_labels_of_boxes_lie_apart(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("edges")
    labels = browser.value(
        "[...document.querySelectorAll('#pictures .box span')].map(each => each.getBoundingClientRect().toJSON())"
    )
    for one, other in ((one, other) for at, one in enumerate(labels) for other in labels[:at]):
        assert (
            min(one["right"], other["right"]) <= max(one["left"], other["left"])
            or min(one["bottom"], other["bottom"]) <= max(one["top"], other["top"])
        )  # fmt: skip


@pytest.mark.parametrize(("width", "count"), [(1280, 1), (1280, 3), (320, 1), (320, 3)])
def test_label_of_a_box_around_all_of_a_picture_is_seen(
    browser: Tab, site: str, picture: Path, width: int, count: int
) -> None:
    visit(browser, site, width)
    choose(browser, *[picture] * count)
    put(browser, "edges")
    finish(browser)
    assert browser.value(
        "(() => { const label = document.querySelector('.box span').getBoundingClientRect();"
        "return ['#pictures', '#stage'].map(each => document.querySelector(each))"
        ".filter(each => getComputedStyle(each).overflowY !== 'visible').map(each => each.getBoundingClientRect())"
        ".concat({top: 0}).every(each => label.top >= each.top) })()"
    )


# ---- captions, and pictures enlarged


def test_captions_are_words_and_pixels_are_in_the_title(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("tools")
    assert texts(browser, ".cut figcaption") == [
        "crop 1 of the picture",
        "enlarged copy 2 of crop 1",
        "smaller copy 3 of the picture",
        "copy 4 of the picture",
        "crop 5 of enlarged copy 2",
    ]
    assert not any(re.search(r"\d{2}", caption) for caption in texts(browser, "figcaption"))
    titles = browser.value("[...document.querySelectorAll('.frame')].map(each => each.title)")
    assert titles[:2] == [f"image 0, {WIDTH} × {HEIGHT} px", "image 1, 224 × 168 px: image 0, pixels 56,28 to 280,196"]


def test_captions_name_the_picture_that_was_cut(browser: Tab, ask: Callable[[str], None], picture: Path) -> None:
    choose(browser, picture)
    ask("second")
    assert texts(browser, ".cut figcaption") == ["crop 1 of picture 2"]
    assert [each.split(" · ")[0] for each in texts(browser, "#pictures figcaption span")] == ["Picture 1", "Picture 2"]


def test_crop_is_enlarged_by_click_enter_and_space(browser: Tab, ask: Callable[[str], None], model: Model) -> None:
    rest(browser, model, "How large? wait")
    small = "document.querySelector('.cut .enlarge')"
    for way in ("click", "Enter", " "):
        browser.value(f"{small}.focus()")
        if way == "click":
            place = browser.value(f"{small}.getBoundingClientRect().toJSON()")
            where = {"x": place["x"] + 40, "y": place["y"] + 40, "button": "left", "clickCount": 1}
            for kind in ("mousePressed", "mouseReleased"):
                browser.call("Input.dispatchMouseEvent", type=kind, **where)
        else:
            browser.press(way)
        assert browser.until("document.querySelector('#large').open"), way
        wide = browser.value(
            "['.cut img', '#large img'].map(each => document.querySelector(each).getBoundingClientRect().width)"
        )
        assert wide[1] > 2 * wide[0]
        assert browser.value("document.querySelector('#large img').src === document.querySelector('.cut img').src")
        assert texts(browser, "#large figcaption") == ["crop 1 of the picture"]
        browser.press("Escape")
        browser.until("!document.querySelector('#large').open")
        assert browser.value(f"document.activeElement === {small}")
        assert browser.value("document.body.dataset.running") == "true"  # Escape was for the dialog
    model.go.set()
    finish(browser)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 568)])
def test_enlarged_crop_fits_the_window(browser: Tab, ask: Callable[[str], None], width: int, height: int) -> None:
    browser.resize(width, height)
    ask("edges")
    for number in range(7):
        browser.value(f"document.querySelectorAll('.enlarge')[{number}].click()")
        left, top, right, bottom = browser.value(
            "(({left, top, right, bottom}) => [left, top, right, bottom])"
            "(document.querySelector('#large').getBoundingClientRect())"
        )
        assert (left >= 0, top >= 0, right <= width, bottom <= height) == (True,) * 4
        assert browser.value("(at => at.scrollHeight <= at.clientHeight)(document.querySelector('#large'))")
        assert browser.value(FILLED) > 0.95
        browser.value("document.querySelector('#large').close()")


# ---- the chat over a reload


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


def test_question_that_a_reload_broke_off_can_be_asked_again(
    browser: Tab, ask: Callable[[str], None], model: Model
) -> None:
    rest(browser, model, "How large? wait")
    browser.until(f"{KEPT}.then(chat => chat?.turns[0].events.length > 2)")
    browser.reload()
    browser.until("document.querySelector('.failed') !== null")
    assert texts(browser, ".cut figcaption") == ["crop 1 of the picture"]
    assert browser.value("document.querySelector('#question').value") == "How large? wait"
    model.go.set()
    browser.value("document.querySelector('#question').focus()")
    browser.press("Enter")
    finish(browser)
    assert texts(browser, ".answer") == ["97"]


def test_reload_keeps_what_was_done_to_the_pictures(browser: Tab, ask: Callable[[str], None], picture: Path) -> None:
    ask("too small")
    choose(browser, picture, picture)
    browser.value("document.querySelector('.remove').click()")
    browser.until(f"{KEPT}.then(chat => chat?.pictures.length === 2)")
    browser.reload()
    browser.until("document.querySelector('.cost') !== null")
    assert len(texts(browser, "#pictures figure")) == 2
    assert len(texts(browser, ".remove:not([hidden])")) == 2
    browser.value("document.querySelector('#question').focus()")
    put(browser, "It is on the second.")
    finish(browser)
    assert texts(browser, ".cut:last-child figcaption") == ["crop 1 of picture 2"]


def test_new_chat_forgets_also_while_the_answer_streams(browser: Tab, ask: Callable[[str], None], model: Model) -> None:
    ask("How large?")
    rest(browser, model, "How large? wait")
    browser.value("document.querySelector('#again').click()")
    empty = "document.querySelectorAll('.turn').length === 0 && document.querySelectorAll('.example').length === 3"
    browser.until(empty)
    model.go.set()
    for _ in range(2):
        assert browser.value(KEPT) is None
        assert texts(browser, "#pictures img") == []
        browser.reload()
        assert browser.until(empty)


def test_page_works_where_nothing_can_be_kept(browser: Tab, site: str, picture: Path) -> None:
    refusal = "Object.defineProperty(window, 'indexedDB', {get() { throw new DOMException('no', 'SecurityError') }})"
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=refusal)["identifier"]
    try:
        visit(browser, site, 1400)
        choose(browser, picture)
        put(browser, "How large?")
        finish(browser)
        assert texts(browser, ".answer") == ["97"]
        assert browser.until("document.querySelector('#unkept').textContent").startswith("This browser cannot keep")
        assert browser.complaints == []
        browser.value("document.querySelector('#again').click()")
        browser.until("document.body.dataset.begun === 'false'")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_page_works_where_storage_is_full(browser: Tab, ask: Callable[[str], None], site: str) -> None:
    browser.call("Storage.overrideQuotaForOrigin", origin=site, quotaSize=1)
    try:
        ask("How large?")
        ask("in words")
        assert texts(browser, ".answer") == ["97", "ninety-seven"]
        assert browser.until("document.querySelector('#unkept').textContent").startswith("This browser cannot keep")
        assert browser.complaints == []
    finally:
        browser.call("Storage.overrideQuotaForOrigin", origin=site)


def test_chat_beyond_the_bound_is_not_kept(browser: Tab, ask: Callable[[str], None], tmp_path: Path) -> None:
    ask("How large?")
    large = tmp_path / "large.png"
    Image.effect_noise((4000, 4000), 100).save(large, compress_level=0)
    choose(browser, large)
    ask("in words")
    assert texts(browser, ".answer") == ["97", "ninety-seven"]
    assert browser.until("document.querySelector('#unkept').textContent").startswith("This chat is too long")
    assert browser.value(KEPT) is None


def test_kept_chat_that_cannot_be_shown_is_forgotten(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("How large?")
    browser.until(f"{KEPT}.then(chat => chat?.turns[0].answer)")
    browser.value(
        "new Promise(done => { const opening = indexedDB.open('virc'); opening.onsuccess = () => {"
        "const writing = opening.result.transaction('chat', 'readwrite');"
        "writing.objectStore('chat').put({pictures: [], turns: [{other: 1}]}, 'last');"
        "writing.oncomplete = () => { opening.result.close(); done() } } })"
    )
    browser.reload()
    browser.until(f"document.body?.dataset.begun === 'false' && {KEPT}.then(chat => chat === null)")
    assert texts(browser, ".turn") == []


# ---- for every reader


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 568)])
def test_focus_is_seen_wherever_the_keyboard_goes(
    browser: Tab, ask: Callable[[str], None], picture: Path, width: int, height: int
) -> None:
    browser.resize(width, height)
    ask("edges")
    browser.value("document.activeElement.blur(), scrollTo(0, 0), document.querySelector('#again').focus()")
    order = ["again", "enlarge", *["enlarge", "where"] * 6, "file", "question", "send"]
    for names, back in ((order[1:], False), (order[-2::-1], True)):
        reached = []
        for _ in names:
            browser.press("Tab", shift=back)
            reached.append(browser.value(FOCUSED))
        assert [name for name, _, _ in reached] == names
        assert [each for each in reached if each[1:] != ["solid", True]] == []


@pytest.mark.parametrize("width", [320, 1280])
def test_what_is_pressed_is_large_enough(browser: Tab, site: str, picture: Path, width: int) -> None:
    visit(browser, site, width)
    choose(browser, picture, picture)
    sides = (
        "[...document.querySelectorAll('button, .add')].filter(each => each.checkVisibility() && each.className !=="
        "'where').map(each => each.getBoundingClientRect()).map(({width, height}) => Math.min(width, height))"
    )
    assert min(browser.value(sides)) >= 24
    put(browser, "edges")
    finish(browser)
    assert min(browser.value(sides)) >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(browser: Tab, site: str, picture: Path, scheme: str) -> None:
    visit(browser, site, 1280, scheme)
    contrasts = browser.value(CONTRASTS)
    choose(browser, picture)
    for question in ("tools", "too small", "How large?"):
        put(browser, question)
        finish(browser)
    contrasts += browser.value(CONTRASTS)
    assert len(contrasts) > 30
    assert [each for each in contrasts if each[1] < 4.5] == []


def test_nothing_moves_for_those_who_want_no_motion(browser: Tab, site: str, picture: Path, model: Model) -> None:
    for motion, moves in (("no-preference", True), ("reduce", False)):
        visit(browser, site, 1280, motion=motion)
        choose(browser, picture)
        rest(browser, model, "How large? wait")
        assert bool(browser.value("document.getAnimations().length")) is moves
        model.go.set()
        finish(browser)


def test_streamed_answer_is_announced(browser: Tab, ask: Callable[[str], None]) -> None:
    ask("How large?")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    (log,) = [node for node in nodes if node.get("role", {}).get("value") == "log"]
    assert {"name": "live", "value": {"type": "token", "value": "polite"}} in log["properties"]
    names = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "button"]
    assert {"Enlarge crop 1 of the picture", "Enlarge the picture, picture.png"} <= set(names)
