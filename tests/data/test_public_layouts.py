"""Rows of public datasets as they are published: read, or refused, and never read wrongly."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.public_layouts import CASES, COLOURS, Case, page

from virc.core.errors import DataError
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.proposing import proposed, write

TALKS = (
    "LLaVA-Instruct", "LLaVA-CoT", "ShareGPT4V", "M4-Instruct, several images", "MathV360K",
    "messages of OpenAI with parts", "Visual-CoT, conversations", "ms-swift, objects", "rows of alpaca with images",
)  # fmt: skip
"""Layouts of conversations, which are converted for SFT."""
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


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
            assert case.yaml in raised.value.message
            return
        layout = tmp_path / "mine.yaml"
        if case.outcome == "yaml":
            layout.write_text(case.yaml)
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
            assert all(map(str.endswith, row["choices"], COLOURS[:3]))
        assert talks or row["question"].strip()


def test_the_page_has_the_table() -> None:
    assert page() in DOCS.read_text(encoding="utf-8")
