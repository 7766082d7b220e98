"""The report as a browser lays it out, and its filters as a reader uses them."""

from pathlib import Path

import pytest
from support.browser import Tab, in_browser
from support.evaluations import outcomes, summary_of

from virc.evaluation.pages.report import render

pytestmark = [pytest.mark.integration, in_browser]
NAMES = ("one", "other")
SHOWN = "[...document.querySelectorAll('.list tbody tr')].filter(row => row.offsetHeight).map(row => row.id)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both right, each alone, none, no verdict."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    results = outcomes("rr", "rw", "wr", "ww", "uf", names=NAMES)
    path.write_text(render(summary_of(results, *NAMES), results), "utf-8")
    return path


def test_filters_show_what_they_name_by_click_and_by_key(browser: Tab, page: Path) -> None:
    browser.open(page, 1400)
    assert browser.value(SHOWN) == ["p1", "p2", "p3"]
    expected = {"all": ["p0", "p1", "p2", "p3", "p4"], "hard": ["p3"], "only0": ["p1"], "only1": ["p2"], "open": ["p4"]}
    for key, rows in expected.items():
        browser.value(f"document.querySelector('label[for={key}]').click()")
        assert browser.value(SHOWN) == rows
    browser.value("document.getElementById('wrong').focus()")
    for kind in ("keyDown", "keyUp"):
        arrow = {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39}
        browser.call("Input.dispatchKeyEvent", type=kind, **arrow)
    assert browser.value("document.activeElement.id") == "hard"
    assert browser.value(SHOWN) == ["p3"]


def test_link_to_a_problem_shows_it_whatever_the_filter(browser: Tab, page: Path) -> None:
    browser.open(page, 1400)
    browser.value("document.querySelector('label[for=hard]').click()")
    browser.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.value("document.querySelector('.only a[href=\"#p2\"]').click()")
    assert browser.value(SHOWN) == ["p2", "p3"]
