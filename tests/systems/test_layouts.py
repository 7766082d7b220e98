"""Layouts of published rows: which value of a row a column names, and which rows and files a layout fits."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from virc.core.errors import ConfigError
from virc.systems.catalog import facts
from virc.systems.layouts import registry as shared
from virc.systems.layouts.layout import Layout, Part, elements_of, names_of, value_of

ROW = {
    "question": "Q?", "answer": "<answer>red</answer>", "solution": None, "a.b": "flat",
    "wide": "<answer> red </answer>",
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
        (Part("wide", after="<answer>", before="</answer>"), "red"), (Part("answer", after="<answer>"), "red</answer>"),
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


def test_the_columns_of_a_layout_are_in_order_and_once() -> None:
    assert names_of(Part(text="{a} {b:03} {a}")) == ("a", "b")
    assert [*layout(chosen="good", rejected="bad").replies()] == ["good", "bad"]
    assert layout(answer="answer", ignore=["more"]).read() == {"question", "answer", "more"}
    for sign in "?？؟":
        assert elements_of({f"Where{sign}": "here"}) == [{"question": f"Where{sign}", "answer": "here"}]
    assert elements_of({"Where?": "here", "more": 1}) == {"Where?": "here", "more": 1}


def test_lists_of_a_row_become_rows() -> None:
    asked = [{"question": "a", "hint": "h"}, {"question": "b"}]
    assert layout(explode="qas").exploded({"qas": asked, "image": "i"}) == [
        {"image": "i", "question": "a", "hint": "h"}, {"image": "i", "question": "b", "hint": None}
    ]  # fmt: skip
    whole = layout(explode=["qas", "at"], question="qas.question")
    assert whole.exploded({"qas": asked, "at": [1, 2]}) == [{"qas": asked[0], "at": 1}, {"qas": asked[1], "at": 2}]


def test_a_file_that_is_no_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("about: x\nquestoin: y\n")
    with pytest.raises(ConfigError, match=r"odd\.yaml: .*questoin"):
        shared.read(tmp_path / "odd.yaml")


def test_facts_stand_beside_the_yaml_of_their_system() -> None:
    assert [str(facts.file_of(Path("a", name))) for name in ("system.yaml", "mine.yaml")] == [
        "a/facts.json", "a/mine.facts.json"
    ]  # fmt: skip


def test_shared_layouts_are_found_by_their_files() -> None:
    assert {"easy-r1", "r1-v", "mmpr", "trl-pairs", "llamafactory-pairs"} <= shared.discover().keys()
