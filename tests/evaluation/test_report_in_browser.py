"""The report as a browser lays it out, and its filters as a reader uses them."""

import time
from itertools import combinations
from pathlib import Path

import msgspec
import pytest
from reported import WRONG, outcomes, result, summary_of
from support.browser import CHROMIUM, Tab, assert_fits
from support.parsed import HOSTILE

from virc.evaluation.pages.report import render

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
NAMES = ("one", "other")
SHOWN = "[...document.querySelectorAll('.list tbody tr')].filter(row => row.offsetHeight).map(row => row.id)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both right, each alone, none, no verdict."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    results = outcomes("rr", "rw", "wr", "ww", "uf", names=NAMES)
    path.write_text(render(summary_of(results, *NAMES), results), "utf-8")
    return path


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models; names, parts and answers are hostile and words of hundreds of letters."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    words = HOSTILE + "".join(map(str, range(400)))
    names = [f"{number} {words}" for number in range(4)]
    answers = {name: msgspec.structs.replace(WRONG, answer=words) for name in names}
    results = [result(f"{at} {words}", answers, words, {words: (words,)}) for at in range(3)]
    path.write_text(render(summary_of(results, *names, benchmark=words), results), "utf-8")
    return path


@pytest.mark.parametrize("width", [360, 700, 1400])
def test_nothing_is_wider_than_the_window_and_nothing_is_refused(browser: Tab, crowded: Path, width: int) -> None:
    assert_fits(browser, crowded, width)


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


@pytest.mark.parametrize("width", [360, 1400])
def test_list_is_a_table_to_a_screen_reader_at_every_width(browser: Tab, page: Path, width: int) -> None:
    browser.open(page, width)
    browser.value("document.getElementById('p2').scrollIntoView()")  # rows far from the window are not laid out
    wanted = {("rowheader", "2"), ("cell", "wrong: 5 judge"), ("radio", "only one right 1")}
    browser.call("Accessibility.enable")
    for _ in range(100):
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        named = [(node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node]
        if wanted <= set(named):
            break
        time.sleep(0.05)  # they are laid out with the next frame
    browser.call("Accessibility.disable")
    assert wanted <= set(named)
    assert [role for role, _ in named].count("table") == 7
    assert ("image", "50.0%, 95 % interval 15.0% to 85.0%") in named


@pytest.mark.parametrize("width", [360, 700, 1400])
def test_a_range_lies_over_no_other_text(browser: Tab, tmp_path: Path, width: int) -> None:
    results = outcomes(*"rruuww" * 2, names=("one",))
    (tmp_path / "report.html").write_text(render(summary_of(results, "one"), results), "utf-8")
    browser.open(tmp_path / "report.html", width)
    boxes = browser.value(
        "[...document.querySelectorAll('.accuracy td:nth-child(n + 3)')].filter(cell => cell.offsetHeight)"
        ".map(cell => { const text = document.createRange(); text.selectNodeContents(cell);"
        "const box = text.getBoundingClientRect(); return [box.left, box.right, box.top, box.bottom] })"
    )
    assert len(boxes) == (4 if width == 1400 else 3)  # counts of the undecided and the unread are beside the range
    assert not [
        (one, other)
        for one, other in combinations(boxes, 2)
        if one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
    ]


def test_columns_of_the_list_lie_under_their_heads(browser: Tab, page: Path) -> None:
    for width in (360, 1400):
        browser.open(page, width)
        heads, cells = browser.value(
            "['thead', '#p1'].map(row => [...document.querySelectorAll(`.list ${row} :is(th, td)`)]"
            ".slice(2).map(cell => cell.getBoundingClientRect().left))"
        )
        assert len(cells) == 3
        assert heads == pytest.approx(cells, abs=1)


def test_the_head_of_models_stands_over_their_names_in_every_table(browser: Tab, page: Path) -> None:
    browser.open(page, 1400)
    heads = "[...document.querySelectorAll('.numbers thead tr:first-child th:first-child')]"
    aligned = browser.value(f"{heads}.map(head => head.textContent + ' ' + getComputedStyle(head).textAlign)")
    assert len(aligned) == 2
    assert set(aligned) == {"Model start"}
