"""The report: that it says what was counted, leads to the traces, and lets nothing foreign act."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.evaluations import RIGHT, WRONG, outcomes, result, summary_of
from support.parsed import HOSTILE, Page, assert_nothing_runs_or_loads

from virc.evaluation.answered import Answered, Result
from virc.evaluation.pages.report import render
from virc.evaluation.summary import Summary
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session
from virc.solving.rows import file_name
from virc.solving.traces.files import write_trace
from virc.tools import registry as tools


def page_of(*lines: str, names: tuple[str, ...] = ("one", "other")) -> str:
    results = outcomes(*lines, names=names)
    return render(summary_of(results, *names), results)


def _trace(folder: Path) -> None:
    protocol = own_protocol(tools.schemas(["crop_image"]))
    running = Session(protocol, "How many?", [Image.new("RGB", (56, 56))], tools=tools.known())
    running.feed(Reply("<think>I count.</think><answer>5</answer>"))
    write_trace(folder, running.trace(), running.images, {})


def test_every_wrong_answer_opens_as_its_trace_whatever_it_is_called(tmp_path: Path) -> None:
    names = ("org/model@100%", "https://host/a b?c#d", "plain")
    results = []
    for id in ("1", "../up", "a b#c?d&e%2F", "ä∠\u202e", 7):
        answers = {}
        for name in names:
            trace = f"traces/{file_name(name)}/{file_name(str(id))}"
            _trace(tmp_path / trace)
            answers[name] = msgspec.structs.replace(WRONG, trace=trace)
        results.append(result(id, answers))
    (tmp_path / "report.html").write_text(render(summary_of(results, *names), results), "utf-8")
    links = re.findall(r'href="(\./traces/[^"]+)"', (tmp_path / "report.html").read_text("utf-8"))
    pages = {(tmp_path / unquote(link)).resolve(strict=True) for link in links}
    assert len(links) == len(pages) == 15
    assert all(page.is_file() and page.is_relative_to(tmp_path / "traces") for page in pages)
    assert all(link.startswith("./traces/") and not set("?# ") & set(link) for link in links)


def test_page_runs_and_loads_nothing_and_forbids_it() -> None:
    assert_nothing_runs_or_loads(Page(page_of("rw", "wr", "nr")), r"#p\d+$|\./traces/|problems\.html$")


def _cells(text: str, tag: str) -> list[str]:
    """The plain text of each cell."""
    cells = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in cells]


def test_why_there_is_no_answer_stands_below_the_question() -> None:
    cells = _cells(page_of("rn"), "td")
    assert "How many? other: turn 4 got no usable reply in 4 tries" in cells
    assert "no answer" in cells


def test_what_is_not_known_or_equal_for_all_is_said_once() -> None:
    text = page_of("uu")
    assert "not known against" not in text
    assert sum("Refused" in head for head in _cells(text, "th")) == 1
    results = [msgspec.structs.replace(outcomes("rr")[0], unreadable=True), *outcomes("rr")]
    refused = [head for head in _cells(render(summary_of(results, "one", "other"), results), "th") if "Refused" in head]
    assert refused == ["Refused", "Refused though there is an answer"]


def _everywhere(words: str) -> tuple[Summary, list[Result]]:
    """An evaluation in which these words stand wherever others write."""
    answered = Answered(words, False, "rule", trace="t")
    names = (f"one {words}", f"other {words}")
    categories: Mapping[str, tuple[str, ...]] = {f"d {words}": (f"p {words}",)}
    results = [
        Result(f"a {words}", words, f"k {words}", categories, {names[0]: RIGHT, names[1]: answered}),
        Result(f"b {words}", words, f"k {words}", {}, {names[1]: Answered(None, False, reason=f"r {words}")}),
    ]
    summary = summary_of(results, *names, benchmark=f"b {words}")
    settings = {"k": words, "deep": {"k": [words]}}
    models = [msgspec.structs.replace(each, settings=settings, protocol=f"w {words}") for each in summary.models]
    return msgspec.structs.replace(summary, models=models), results


def _skeleton(text: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements without what depends on the words: policies, labels, and the marks of another direction."""
    return [
        (tag, {name: value for name, value in found.items() if name not in ("aria-label", "content", "title")})
        for tag, found in Page(text).skeleton
        if tag != "bdi"
    ]


SKELETON = _skeleton(render(*_everywhere("harmless")))


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    text = render(*_everywhere(HOSTILE[:36]))
    assert _skeleton(text) == SKELETON
    text = render(*_everywhere("\u202e\"'><script>\u0007"))
    assert _skeleton(text) == SKELETON
    assert "U+202E\"'><script>U+0007" in Page(text).text


@pytest.mark.integration
@given(st.text(st.characters(), max_size=30))
def test_any_text_keeps_the_page_in_shape_and_hides_nothing(words: str) -> None:
    text = render(*_everywhere(words))
    assert _skeleton(text) == SKELETON
    odd = {mark for mark in text if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert odd <= set("\n\t\u200c\u200d")
    text.encode("utf-8")
