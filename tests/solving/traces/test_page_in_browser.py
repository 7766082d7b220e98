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
