"""Layouts of published rows: which value of a row a column names, and which rows and files a layout fits."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from virc.core.errors import ConfigError
from virc.systems.layouts import registry as shared
from virc.systems.layouts.layout import ColumnPart, Layout, value_of

ROW = {
    "question": "Q?", "answer": "<answer>red</answer>", "solution": None, "a.b": "flat",
    "wide": "<answer> red </answer>", "late": "| a: red |",
    "info": {"question": "inner", "nothing": None}, "talk": [{"value": "first"}, {"value": "second"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question", "Q?"), ("info.question", "inner"), ("talk.0.value", "first"), ("talk.1.value", "second"),
        ("talk.2.value", UNSET), ("talk.-1.value", UNSET), ("a.b", "flat"), ("info.other", UNSET), ("none", UNSET),
        ("solution", None), ("info.nothing", None),
        (("solution", "question"), "Q?"), (("info.nothing", "solution"), None), (("none", "solution"), None),
        (("none", "question"), "Q?"), (("none", "other"), UNSET), (("question", "answer"), "Q?"),
        (ColumnPart("answer", after="<answer>", before="</answer>"), "red"),
        (ColumnPart("wide", after="<answer>", before="</answer>"), "red"),
        (ColumnPart("answer", after="<answer>"), "red</answer>"),
        (ColumnPart("late", after="a:", before="|"), "red"),
        (ColumnPart("answer", before="</answer>"), "<answer>red"),
        (ColumnPart("answer", after="<box>"), "<answer>red</answer>"),
        (ColumnPart(("solution", "answer"), after="<answer>", before="</answer>"), "red"),
        (ColumnPart("none", after="x"), UNSET),
    ],
)  # fmt: skip
def test_a_column_has_the_value_that_it_names(column: Any, value: object) -> None:
    assert value_of(ROW, column) == value


def layout(**fields: Any) -> Layout:
    return msgspec.convert({"about": "x", "question": "question", **fields}, Layout)


def test_lists_of_a_row_become_rows() -> None:
    asked = [{"question": "a", "hint": "h"}, {"question": "b"}]
    assert layout(explode="qas").exploded({"qas": asked, "image": "i"}) == [
        {"image": "i", "question": "a", "hint": "h"}, {"image": "i", "question": "b", "hint": None}
    ]  # fmt: skip
    whole = layout(explode=["qas", "at"], question="qas.question")
    assert whole.exploded({"qas": asked, "at": [1, 2], "hint": 0}) == [
        {"qas": asked[0], "at": 1, "hint": 0}, {"qas": asked[1], "at": 2, "hint": 0}
    ]  # fmt: skip


def test_a_file_that_is_no_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("about: x\nquestoin: y\n")
    with pytest.raises(ConfigError, match=r"odd\.yaml: .*questoin"):
        shared.read_layout(tmp_path / "odd.yaml")
    (tmp_path / "odd.yaml").write_text("about: x\nquestion: y\nunsure: [which is right]\n")
    with pytest.raises(ConfigError, match=r"odd\.yaml is not sure: which is right"):
        shared.read_layout(tmp_path / "odd.yaml")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"chosen": "a"}, "both `chosen` and `rejected`"), ({"rejected": "a"}, "both `chosen` and `rejected`"),
        ({"chosen": "a", "rejected": "b", "reply": "c"}, "pairs has no `reply`"),
        ({"question": None, "messages": "m", "replied": "r"}, "`replied` needs `question`"),
        ({"history": "h"}, "`history` needs `replied`"), ({"index_from": 0, "answer": "a"}, "needs `choices` and `ans"),
        ({"question": None}, "needs `question` or `messages`"),
        ({"question": None, "messages": "m", "reply": "r"}, "needs `question` or `messages`"),
        ({"answer": {"after": "x"}}, "one of `column`, `columns` and `text`"),
        ({"answer": {"column": "a", "text": "{b}"}}, "one of `column`, `columns` and `text`"),
    ],
)  # fmt: skip
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        layout(**fields)
