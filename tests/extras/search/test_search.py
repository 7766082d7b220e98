"""The tool `search`: the ranks of pages by BM25, one new page a search."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc

from virc.core.errors import ConfigError, SetupError
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.tools import registry as tools
from virc_extras.search import tool as search

PAGES = {
    "p1": "Revenue of 2019: 12 million",
    "p2": "Revenue of 2020: 15 million, and profit of 2020",
    "p3": "Our team and its dogs",
}


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for number, (name, text) in enumerate(PAGES.items(), 1):
        Image.new("RGB", (280, 56 * number), "white").save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(text)
    Image.new("RGB", (56, 56)).save(folder / "without_text.png")
    (folder / "without_picture.txt").write_text("revenue revenue")
    monkeypatch.setenv("VIRC_PAGES", str(folder))
    return folder


def call(query: str) -> Reply:
    written = json.dumps({"name": "search", "arguments": {"query": query}})
    return Reply(f"<think>...</think>\n<tool_call>{written}</tool_call>")


def session() -> Session:
    blank = Image.new("RGB", (280, 280))
    return Session(own_protocol(tools.schemas(["search"])), "How much?", [blank], tools=tools.known())


def test_pages_are_ranked_by_the_words_of_the_query(pages: Path) -> None:
    assert [page.name for page in search.ranked("profit of 2020")] == ["p2.png"]
    assert [page.name for page in search.ranked("Revenue, dogs")] == ["p3.png", "p1.png", "p2.png"]
    assert search.ranked("the of zebra") == []
    assert search.ranked("") == []


def test_each_search_shows_a_page_that_was_not_shown(pages: Path) -> None:
    problem = session()
    shown = []
    for query in ("revenue", "revenue", "revenue"):
        unit = problem.feed(call(query))
        assert isinstance(unit, Unit)
        shown += [problem.images[index].size for result in unit.results for index in result.images]
        last = unit.results[0].text
    assert shown == [(280, 56), (280, 112)]
    assert last == "No other page has a word of this query."


def test_without_pages_the_tool_is_refused_before_a_model_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRC_PAGES", raising=False)
    with pytest.raises(SetupError, match="has no pages to search"):
        tools.check_ready(["crop_image", "python", "search"])
    monkeypatch.setenv("VIRC_PAGES", "")
    with pytest.raises(SetupError, match="has no pages to search"):
        tools.check_ready(["search"])
    monkeypatch.setenv("VIRC_PAGES", str(tmp_path / "absent"))
    with pytest.raises(SetupError, match="which is no folder"):
        tools.check_ready(["search"])
    monkeypatch.setenv("VIRC_PAGES", str(tmp_path))
    with pytest.raises(ConfigError, match="has no page"):
        tools.check_ready(["search"])


def test_the_command_tries_a_search(pages: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (280, 280)).save(blank)
    done = virc("tools", "try", "search", blank, "--arguments", '{"query": "dogs"}', "--json").json
    assert done["images"] == [{"width": 280, "height": 168, "file": None}]
