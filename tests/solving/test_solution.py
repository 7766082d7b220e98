"""What a Python caller gets: one line, and a trace that a notebook shows."""

import html
import re
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image
from support.parsed import HOSTILE, Page
from support.servers import MODEL, serve
from support.solving import CROP, answer

from virc.solving.python.one import solve
from virc.solving.solution import Solution


def _frame(solution: Solution) -> dict[str, str | None]:
    """The attributes of the one element that a notebook gets."""
    written = solution._repr_html_()
    assert written is not None
    (found,) = Page(written).elements
    assert found[0] == "iframe"
    return found[1]


def test_a_solution_is_one_line_and_its_trace_a_page(image: Path) -> None:
    with serve([CROP, answer("97")]) as server:
        solution = solve(image, "What is x?", MODEL, endpoint=server.url)
    assert re.fullmatch(rf"Solution\('97', model='{MODEL}', turns=2, seconds=\d+\.\d\d\)", repr(solution))
    page = Page(_frame(solution)["srcdoc"] or "")
    assert ("strong", "97") in page.texts
    assert len(page.all("svg", "picture")) == 3
    assert re.search(r"tokens · \d+\.\d\ss", page.text)
    assert "max turns" in page.text.replace("_", " ")


def test_words_of_others_neither_run_nor_break_the_line(image: Path) -> None:
    said = f"{HOSTILE}\n</iframe><script>alert(1)</script>" + "x" * 5000
    with serve([answer(said, said)]) as server:
        solution = solve(image, f"q {HOSTILE}", MODEL, endpoint=server.url)
    assert "\n" not in repr(solution)
    assert "\u202e" not in repr(solution)
    assert len(repr(solution)) < 400
    frame = _frame(solution)
    assert frame["sandbox"] is None  # there, and empty: nothing is allowed
    assert not {name for name in frame if name.startswith("on") or name == "src"}
    page = Page(frame["srcdoc"] or "")
    assert not {"script", "iframe", "img", "link", "object"} & {tag for tag, _ in page.elements}
    policies = [found["content"] or "" for found in page.all("meta") if "http-equiv" in found]
    assert policies[0].startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_pictures_of_a_solution_are_bounded(image: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (600, 1600, 3), np.uint8)
    with serve([CROP, answer("97")]) as server:
        solution = solve([Image.fromarray(noise), image], "q", MODEL, endpoint=server.url, max_pixels=8_000_000)
    assert solution.view
    large, small, _ = solution.view.pictures
    assert (large.size, large.original) == ((1596, 588), (1600, 600))
    assert len(large.data_url) < 600_000
    assert small.data_url.startswith("data:image/png;")
    assert 'viewBox="0 0 1596 588"' in html.unescape(solution._repr_html_() or "")
    assert len(msgspec.json.encode(solution.view.pictures)) < 2_000_000
