"""Rows of questions without a picture, of systems with a tool that finds some: read, checked, converted, prepared."""

import json
from pathlib import Path

import pytest
from support.called import virc

QUESTION = "How many tons were shipped?"
META = {"file_name": "harbour.pdf", "reference_page": [2, 3]}


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
    pytest.importorskip("virc_extras")  # the system's tool
    file = converted(converted(questions, "prompts") if format == "rl" else questions, format)
    done = virc("data", "check", file, "--system", "vrag-rl", "--json")
    assert (done.code, done.json["good"]) == (0, 2), done.err
    again = file if format == "batch" else converted(file, "batch")
    rows = [json.loads(line) for line in again.read_text().splitlines()]
    wanted = {"images": [], "question": QUESTION, "answer": "12 tons", "meta_info": META}
    assert [{name: row[name] for name in wanted} for row in rows] == [wanted] * 2
