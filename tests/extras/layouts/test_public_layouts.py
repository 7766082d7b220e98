"""Layouts of public datasets and of files without one: read, proposed or refused, and never read wrongly."""

import json
from pathlib import Path
from typing import Any

import pytest
from public_layouts import CASES, Case, page
from support.called import virc
from support.row_files import asked, lines, saved

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.data.convert.convert import ConvertConfig, convert
from virc.scoring.score import key_of
from virc.solving.sources.row_files import open_problems, open_rows
from virc_extras.layouts.guess import propose
from virc_extras.layouts.proposing import proposed, write

CHOICES = ["red", "green", "blue"]


def rows(folder: Path, *columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"question": asked(at), "image": saved(folder, f"{at}.png", at), **each} for at, each in enumerate(columns)]


UNSURE = [
    ([{"choices": CHOICES, "answer": 1}, {"choices": CHOICES, "answer": 2}], "may count from 0 or 1"),
    ([{"choices": CHOICES, "answer": ["red", "blue"]}], "all of them together"),
    ([{"label": 3}], "may be the number of a class"),
    ([{"choices": CHOICES, "answer": "pink"}], "none of its choices"),
    ([{"choices": "red, green", "answer": "red"}], "one text whose parts are not clear"),
    ([{"question": ["What?", "Which?"], "answer": "red"}], "answer is one answer of several question"),
    ([{"question": ["What?", "Which?"], "answers": [{"text": "a"}, {"text": "b"}]}], "not always a text or a number"),
    ([{"response": "red"}], "the answer may be response"),
]


@pytest.mark.parametrize(("columns", "reason"), UNSURE)
def test_what_may_be_read_in_two_ways_is_not_taken(columns: list[dict[str, Any]], reason: str, tmp_path: Path) -> None:
    found = propose(rows(tmp_path, *columns), tmp_path)
    assert any(reason in each for each in found.unsure), found.unsure


def test_the_command_shows_a_proposal_and_writes_it(tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", rows(tmp_path, *({"choices": CHOICES, "answer": at + 1} for at in range(2))))
    shown = virc("data", "layout", file, "--write", tmp_path / "mine.yaml")
    assert shown.code == 0, shown
    assert "may count from 0 or 1" in shown.err
    assert 'choices: "choices"  # ' in shown.out
    text = (tmp_path / "mine.yaml").read_text()
    assert "index_from: 0" in text
    assert virc("data", "layout", file, "--write", tmp_path / "mine.yaml").code == 1  # it is there
    refused = virc("data", "check", file, "--layout", tmp_path / "mine.yaml")
    assert refused.code == 3, refused
    assert "mine.yaml is not sure: answer is the number of a choice" in refused.err
    decided = text[: text.index("unsure:")].replace("index_from: 0", "index_from: 1")
    (tmp_path / "mine.yaml").write_text(decided)
    done = virc("data", "check", file, "--layout", tmp_path / "mine.yaml")
    assert done.code == 0, done


TALKS = (
    "LLaVA-Instruct", "LLaVA-CoT", "ShareGPT4V", "M4-Instruct, several images", "MathV360K",
    "messages of OpenAI with parts", "Visual-CoT, conversations", "ms-swift, objects", "rows of alpaca with images",
)  # fmt: skip
"""Layouts of conversations, which are converted for SFT."""
DOCS = Path(__file__).parents[3] / "docs" / "extras" / "layouts.md"


def converted(file: Path, to: Path, form: str, **more: Any) -> list[dict[str, Any]]:
    convert(ConvertConfig([file], to, form, **more))
    others = ("dataset_info.json", "virc_protocol.json")
    found = next(each for each in to.iterdir() if each.suffix in (".jsonl", ".json") and each.name not in others)
    text = found.read_text()
    return [json.loads(line) for line in text.splitlines()] if form == "batch" else json.loads(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_published_rows_are_read_whole_or_refused(case: Case, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    file, layout = case.write(folder), None
    talks = case.name in TALKS
    form = "sft" if talks else "batch"
    if case.outcome != "read":
        with pytest.raises(DataError) as raised:
            converted(file, tmp_path / "refused", form)
        if case.outcome == "refused":
            assert case.message in raised.value.message
            return
        layout = tmp_path / "mine.yaml"
        if case.outcome == "yaml":
            layout.write_text(case.layout)
        else:
            write(proposed(file), layout)
            layout.write_text(layout.read_text().partition("unsure:")[0])
    rows = converted(file, tmp_path / "to", form, layout=layout)
    assert [row.get("answer") for row in rows] == list(case.answers)
    assert all(len(row.get("images", [row.get("image")])) == case.pictures for row in rows)
    for row in rows:
        assert all(row[name] for name in case.fields), case.fields
        if talks:
            assert sum(each["content"].count("<image>") for each in row["messages"]) == case.pictures
        elif "choices" in row:
            assert all(map(str.endswith, row["choices"], CHOICES))
        assert talks or row["question"].strip()
    if layout is None:  # a batch and an evaluation read the same without a conversion
        for opening in (open_rows(str(file)), open_problems(file, Reporter())):
            with opening as opened:
                problems = [*opened.rows]
            assert [(each.fault, len(each.images)) for each in problems] == [(None, case.pictures)] * len(rows)
        pairs = [*zip(problems, case.answers, strict=True)]
        assert talks or all(key_of(row.passed).accepted[0] == answer for row, answer in pairs if answer)


def test_the_page_has_the_table() -> None:
    assert page() in DOCS.read_text(encoding="utf-8")
