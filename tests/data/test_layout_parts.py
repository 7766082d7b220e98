"""What a layout says about its columns: parts, several of them, texts with columns in them, numbers and boxes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.public_layouts import saved

from virc.core.errors import DataError
from virc.data.rows.laid_out import record_of
from virc.systems.layouts.layout import Layout

ROW: dict[str, Any] = {
    "q": "Which?",
    "i": "a.png",
    "c": ["red", "green", "blue"],
    "A": "x",
    "B": "",
    "C": "z",
    "n": 7,
    "j": '{"k": [1]}',
    "hint": "nan",
    "hints": ["a", "b"],
    "void": [],
}


def read(folder: Path, row: dict[str, Any], **fields: Any) -> Any:
    saved(folder, "a.png", 0)
    layout = msgspec.convert({"about": "mine", "question": "q", "images": "i", **fields}, Layout)
    return record_of(ROW | row, layout, folder, None)


@pytest.mark.parametrize(
    ("first", "answer", "text"), [(0, 1, "green"), (1, 1, "red"), (1, "3", "blue"), (0, 3, None), (1, 0, None)]
)
def test_the_number_of_a_choice_counts_from_where_it_says(
    first: int, answer: Any, text: str | None, tmp_path: Path
) -> None:
    if text is None:
        with pytest.raises(DataError, match=f"its answer {answer} is no number of its 3 choices, from {first}"):
            read(tmp_path, {"a": answer}, answer="a", choices="c", index_from=first)
    else:
        assert read(tmp_path, {"a": answer}, answer="a", choices="c", index_from=first).answer == text


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ({"columns": ["A", "C", "B"]}, ["x", "z"]),
        ({"columns": ["A", "C", "hint", "none"]}, ["x", "z"]),
        ({"columns": ["A", "B", "C"]}, None),
        ("letters", ["x", "y", "z"]),
        ("texts", ["x", "z"]),
        ("gap", None),
    ],
)
def test_choices_keep_their_letters(choices: Any, found: list[str] | None, tmp_path: Path) -> None:
    more = {"letters": {"C": "z", "A": "x", "B": "y", "D": None}, "texts": ["x", "z", ""], "gap": {"A": "x", "C": "z"}}
    if found is None:
        with pytest.raises(DataError, match="is empty, with choices after it"):
            read(tmp_path, more, choices=choices)
    else:
        assert read(tmp_path, more, choices=choices).extra["choices"] == found


@pytest.mark.parametrize(
    ("answers", "answer", "kept"),
    [
        (["a", "b"], "a", ["a", "b"]),
        ([{"answer": "b"}, {"answer": "b"}, {"answer": "a"}], "b", ["b", "b", "a"]),
        (["a"], "a", None),
        ("['a', 'b']", "a", ["a", "b"]),
    ],
)
def test_several_answers_are_each_accepted(answers: Any, answer: str, kept: Any, tmp_path: Path) -> None:
    record = read(tmp_path, {"a": answers}, answers="a")
    assert (record.answer, record.extra.get("answers")) == (answer, kept)
