"""The page as a browser lays it out."""

from pathlib import Path

import pytest
from problems import META, solved
from support.browser import CHROMIUM, Tab, assert_fits
from support.parsed import HOSTILE

from virc.solving.traces.page import render_page

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of hostile texts and words of over a thousand letters."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    words = HOSTILE + "".join(map(str, range(400)))
    problem = solved(words, words, words)
    assert problem[0].answer == words.strip()
    path.write_text(render_page(*problem, META | {"model": words, words: words}), "utf-8")
    return path


@pytest.mark.parametrize("width", [360, 700, 1400])
def test_nothing_is_wider_than_the_window_and_nothing_is_refused(browser: Tab, page: Path, width: int) -> None:
    assert_fits(browser, page, width)


def test_box_lies_where_it_was_cut_at_every_width(browser: Tab, page: Path) -> None:
    for width in (360, 1400):
        browser.open(page, width)
        left, top, right, bottom = browser.value(
            "(() => { const picture = document.querySelector('.picture:has(.box)').getBoundingClientRect();"
            "const box = document.querySelector('.box').getBoundingClientRect();"
            "return [(box.left - picture.left) / picture.width, (box.top - picture.top) / picture.height,"
            "(box.right - picture.left) / picture.width, (box.bottom - picture.top) / picture.height] })()"
        )
        assert [left, top, right, bottom] == pytest.approx([140 / 224, 56 / 168, 224 / 224, 140 / 168], abs=0.01)


SHOWN = (
    "[...document.querySelectorAll(':popover-open label > span')].filter(each => each.checkVisibility())"
    ".map(each => each.querySelector('use').getAttribute('href'))"
)


@pytest.mark.parametrize("key", ["Enter"])
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
def test_a_picture_is_enlarged_and_left_again(browser: Tab, page: Path, key: str, width: int, scheme: str) -> None:
    browser.open(page, width, scheme)
    browser.value("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # autofocus was looked for
    browser.value("document.querySelectorAll('.enlarge')[2].focus()")
    for _ in range(2):  # opened again, it begins with its own picture
        if key == "click":
            browser.value("document.querySelectorAll('.enlarge')[2].click()")
        else:
            browser.press(key)
        assert browser.value(SHOWN) == ["#figure-2"]
        browser.press("ArrowRight")
        assert browser.value(SHOWN) == ["#figure-3"]
        for _ in range(4):
            browser.press("ArrowLeft")
        assert browser.value(SHOWN) == ["#figure-6"]  # of 7: behind the first is the last
        browser.press("Tab")
        assert browser.value("document.activeElement.textContent") == "Close"
        assert browser.value(SHOWN) == ["#figure-6"]
        over = "(({scrollHeight, scrollWidth}) => [scrollWidth, scrollHeight])(document.querySelector(':popover-open'))"
        across, down = browser.value(over)
        assert across <= width
        assert down <= 900
        browser.press("Escape")
        assert browser.value(SHOWN) == []
        assert browser.value("document.activeElement === document.querySelectorAll('.enlarge')[2]")
    assert browser.complaints == []


@pytest.mark.parametrize("width", [360, 1400])
def test_pictures_keep_their_proportions(browser: Tab, page: Path, width: int) -> None:
    browser.open(page, width)
    ratios = browser.value(
        "[...document.querySelectorAll('.picture')].map(each => {"
        "const box = each.getBoundingClientRect(), whole = each.viewBox.baseVal;"
        "return box.width / box.height / (whole.width / whole.height) })"
    )
    assert len(ratios) == 7
    assert ratios == pytest.approx([1.0] * 7, rel=0.02)
