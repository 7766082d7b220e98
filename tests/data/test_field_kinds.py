"""What LLaMA-Factory's reader of JSON stops at, field by field."""

import json
from pathlib import Path
from typing import Any

import pytest

from virc.data.formats import sft
from virc.data.formats.registry import get, only_source
from virc.data.formats.sft import Kinds

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def flaws(*rows: dict[str, Any]) -> list[list[str]]:
    kinds = Kinds()
    return [list(kinds.flaws(number, row)) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (1, "x", "text, and a number in row 1"),
        ("x", ["x"], "a list, and text in row 1"),
        (1, True, "true or false, and a number"),
        ({"a": 1}, {"a": "x"}, "field.a is text"),
        ([1], ["x"], "field[] is text"),
        ([{"a": [1]}], [{"a": [{}]}], "field[].a[] is an object"),
    ],
)
def test_a_field_of_two_kinds_is_a_flaw_of_the_second_row(first: Any, second: Any, said: str) -> None:
    none, [flaw] = flaws({"field": first}, {"field": second})
    assert none == []
    assert said in flaw


def test_half_a_character_is_a_flaw() -> None:
    [[flaw]] = flaws({"field": ["\ud800"]})
    assert "half a character" in flaw


def test_a_field_that_first_appears_after_the_start_of_a_file_is_a_flaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "_FIRST_PART", 2**16)
    rows: list[dict[str, Any]] = [{"messages": TURNS, "note": "x" * 1000}] * 200
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"messages": TURNS, "more": 1}]))
    found = {row.number: row.flaws for row in get("trajectories").read(only_source(file)) if row.flaws}
    assert found == {201: ("more is in no row of the first 0 MiB: LLaMA-Factory stops at it",)}
    assert not any(row.flaws for row in get("trajectories").read(only_source(file), 2))  # the start is not known
