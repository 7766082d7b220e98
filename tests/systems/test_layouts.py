"""Layouts of published rows: which value of a row a column names, and which rows and files a layout fits."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from virc.systems.layouts import registry as shared
from virc.systems.layouts.layout import Layout, Part, value_of

ROW = {
    "question": "Q?", "answer": "<answer>red</answer>", "solution": None, "a.b": "flat",
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
        (Part("answer", after="<answer>", before="</answer>"), "red"),
        (Part("answer", after="<answer>"), "red</answer>"),
        (Part("answer", before="</answer>"), "<answer>red"), (Part("answer", after="<box>"), "<answer>red</answer>"),
        (Part(("solution", "answer"), after="<answer>", before="</answer>"), "red"), (Part("none", after="x"), UNSET),
    ],
)  # fmt: skip
def test_a_column_has_the_value_that_it_names(column: Any, value: object) -> None:
    assert value_of(ROW, column) == value


def layout(**fields: Any) -> Layout:
    return msgspec.convert({"about": "x", "question": "question", **fields}, Layout)


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, True),
        ({"answer": "answer"}, True),
        ({"answer": "reference"}, False),
        ({"answer": ["reference", "answer"]}, True),
        ({"answer": "solution"}, True),  # null is a value
        ({"images": "image"}, False),
        ({"reply": {"texts": "answer", "images": "crops"}}, True),  # a row may have no images in its reply
        ({"chosen": "talk.0.value", "rejected": "talk.5.value"}, False),
    ],
)
def test_a_row_fits_that_has_all_columns(fields: dict[str, Any], fits: bool) -> None:
    assert layout(**fields).fits(ROW) is fits


@pytest.mark.parametrize(
    ("named", "file", "has"),
    [(None, "any.json", True), ("train", "My-TRAIN.json", True), ("train", "test.json", False),
     (["val", "test"], "test.json", True), (["val", "test"], "train.json", False)],
)  # fmt: skip
def test_a_layout_is_of_files_by_a_part_of_their_names(named: Any, file: str, has: bool) -> None:
    assert layout(named=named).of_file(file) is has


def test_shared_layouts_are_found_by_their_files() -> None:
    assert {"easy-r1", "r1-v", "mmpr", "trl-pairs", "llamafactory-pairs"} <= shared.discover().keys()
