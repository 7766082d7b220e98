"""Rows of questions without a picture, of systems with a tool that finds some: read, checked, converted, prepared."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc

from virc.data.rows.record import content_of
from virc.models.chat_protocol import of_system
from virc.reasoning.session import Reply, Session
from virc.systems import registry as systems
from virc.tools import search
from virc.tools.registry import known

QUESTION = "How many tons were shipped?"
META = {"file_name": "harbour.pdf", "reference_page": [2, 3]}
WORDS = of_system(systems.get("vrag-rl")).protocol


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    row = {"query": QUESTION, "reference_answer": "12 tons", "meta_info": META}
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"examples": [{"uid": at, **row} for at in range(2)]}))
    return file


def converted(file: Path, format: str) -> Path:
    to = file.parent / format
    done = virc("data", "convert", file, "--system", "vrag-rl", "--to", to, "--name", "rows", "--format", format)
    assert done.code == 0, done.err
    return next(to.glob("rows.*"))


@pytest.mark.parametrize("format", ["batch", "prompts", "rl"])
def test_questions_become_rows_of_every_format_and_problems_again(format: str, questions: Path) -> None:
    file = converted(converted(questions, "prompts") if format == "rl" else questions, format)
    done = virc("data", "check", file, "--system", "vrag-rl", "--json")
    assert (done.code, done.json["good"]) == (0, 2), done.err
    again = file if format == "batch" else converted(file, "batch")
    rows = [json.loads(line) for line in again.read_text().splitlines()]
    wanted = {"images": [], "question": QUESTION, "answer": "12 tons", "meta_info": META}
    assert [{name: row[name] for name in wanted} for row in rows] == [wanted] * 2


@pytest.mark.integration
def test_a_box_on_a_page_that_was_found_is_not_held_against_what_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's file is larger than that, and the row does not have it."""
    pages = tmp_path / "pages"
    pages.mkdir()
    Image.new("RGB", (1900, 1300), "grey").save(pages / "harbour_2.png")
    (pages / "harbour_2.txt").write_text("tons of grain")
    monkeypatch.setenv(search.PAGES, str(pages))
    session = Session(WORDS, QUESTION, [], tools=known())
    for reply in ("<search>grain</search>", "<bbox>[10, 20, 87, 213]</bbox>", "<bbox>[0, 0, 90, 90]</bbox>",
                  "<answer>12 tons</answer>"):  # fmt: skip
        session.feed(Reply(reply))
    names = [f"{at}.png" for at in range(len(session.images))]
    for name, shown in zip(names, session.images, strict=True):
        shown.pixels.save(tmp_path / name)
    told = [{"role": each.role, "content": content_of(each)} for each in session.trace().messages]
    (tmp_path / "rows.json").write_text(json.dumps([{"messages": told, "images": names}] * 1))
    done = virc("data", "check", tmp_path / "rows.json", "--system", "vrag-rl", "--json")
    assert (done.code, done.json["faults"], len(names)) == (0, {}, 3)
