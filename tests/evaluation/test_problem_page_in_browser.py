"""The page to look through an evaluation as a reader uses it: filters, keys, addresses, and what it loads."""

from pathlib import Path

import paged
import pytest
from support.browser import Tab, in_browser
from support.parsed import HOSTILE

pytestmark = [pytest.mark.integration, in_browser]
LINES = ["RR", "rW", "wR", "WW", "uf", "RR"]
LISTED = "[...document.querySelectorAll('#rows b')].map(each => each.textContent)"


HEADING = "document.querySelector('#problem h1').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paged.make(tmp_path_factory.mktemp("page"), LINES, arms=("blank picture",))


def open_at(browser: Tab, page: Path, address: str = "", width: int = 1400) -> None:
    browser.open("about:blank", width)
    browser.open(page.as_uri() + address, width)


@pytest.mark.parametrize(
    ("filters", "listed"),
    [
        (["wrong-looked"], ["p2", "p4"]),
        (["disagree"], ["p2", "p3"]),
        (["open"], ["p5"]),
        (["disagree", "wrong-looked"], ["p2"]),
        (["wrong-looked", "open"], []),
    ],
)
def test_filters_leave_what_they_name_and_go_together(
    browser: Tab, page: Path, filters: list[str], listed: list[str]
) -> None:
    open_at(browser, page)
    for each in filters:
        browser.value(f"document.querySelector('label[for={each}]').click()")
    assert browser.value(LISTED) == listed
    assert browser.value("new URLSearchParams(location.hash.slice(1)).getAll('filter')") == filters
    open_at(browser, page, browser.value("location.hash"))  # the same to whom the address is sent
    assert browser.value(LISTED) == listed


def test_boxes_lie_on_the_picture_where_crops_were_cut(browser: Tab, page: Path) -> None:
    open_at(browser, page, "#problem=p2")
    browser.until("[...document.images].every(each => each.complete && each.naturalWidth)")
    boxes = browser.value(
        "(() => { const { left, top, width, height } = document.querySelector('.pictures img').getBoundingClientRect();"
        "const [wide, high] = [320 / width, 240 / height];"
        "return [...document.querySelectorAll('.pictures .box')].map(each => [each, each.getBoundingClientRect()])"
        ".map(([each, box]) => [each.textContent, (box.left - left) * wide, (box.top - top) * high,"
        "(box.right - left) * wide, (box.bottom - top) * high]) })()"
    )
    assert [(name, pytest.approx(box, abs=1)) for name, *box in boxes] == [
        ("E", [*paged.EVIDENCE]), ("A1", [*paged.LOOKS[False]]), ("B1", [*paged.LOOKS[True]])
    ]  # fmt: skip
    dashed = "[...document.querySelectorAll('.pictures .box')].map(each => getComputedStyle(each).outlineStyle)"
    assert browser.value(dashed) == ["dashed", "solid", "solid"]
    cuts = "[...document.querySelectorAll('.cut img')].map(each => [each.naturalWidth, each.naturalHeight])"
    assert browser.value(cuts) == [[100, 80], [96, 72]]
    captions = browser.value("[...document.querySelectorAll('.cut figcaption')].map(each => each.textContent)")
    assert captions == ["A1 200,150–300,230 px", "B1 32,24–128,96 px"]


def test_text_of_others_is_text_and_nothing_is_refused(browser: Tab, tmp_path: Path) -> None:
    text = HOSTILE + "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    page = paged.make(tmp_path, ["RW", "uf"], (f"one{text}", "other"), text=text)
    open_at(browser, page)
    assert "</script><script>" in browser.value(HEADING)
    assert browser.value("document.title") != "run"
    assert browser.value("[...document.images].map(each => new URL(each.src).protocol)") == ["file:"] * 3
    assert browser.complaints == []
    assert (
        browser.value("(() => { try { document.body.innerHTML = '<b>'; } catch { return 'refused' } })()") == "refused"
    )
