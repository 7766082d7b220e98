"""Rows of a batch: what is read, what is wrong with them, and how many are in memory."""

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virc.core.json_stream import line_rows
from virc.core.limits.problem import MAX_IMAGES
from virc.solving import rows as batch
from virc.solving.rows import MAX_LINE_BYTES, ProblemRow, as_row, choices_in, file_name
from virc.solving.sources.columns import read_row, resolve
from virc.solving.sources.row_files import rows_of


def rows(*lines: object) -> list[ProblemRow]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    rows = line_rows(io.BytesIO(b"\n".join(texts)), most=MAX_LINE_BYTES)
    return [as_row(at, row) if isinstance(row, dict) else ProblemRow(at, fault=row) for at, row in rows]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": "\\ud800", "image": "a", "question": "q"}',
        {"id": True, "image": "a", "question": "q"},
        {"id": 1, "question": "q"},
        {"id": 1, "images": ["a"] * (MAX_IMAGES + 1), "question": "q"},
    ],
    ids=lambda content: str(content)[:40],
)
def test_a_wrong_row_is_a_fault_that_names_its_line_and_the_next_goes_on(content: object) -> None:
    good = {"id": "next", "image": "a", "question": "q"}
    before, wrong, after = rows(good, content, good)
    assert wrong.fault
    assert wrong.fault.message.startswith("line 2: ")
    assert "\n" not in wrong.fault.message
    assert (before.fault, after.fault) == (None, None)


def test_a_line_that_never_ends_is_skipped_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_LINE_BYTES", 1000)
    good = {"id": 1, "image": "a", "question": "q"}
    wrong, after = rows(b'{"id": 0, "question": "' + b"x" * 5000 + b'"}', good)
    assert wrong.fault
    assert after.id == 1


def test_a_dash_in_a_row_is_a_file_not_standard_input() -> None:
    assert rows({"id": 1, "image": "-", "question": "q"})[0].images == ("./-",)


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers()))
@example("../x")
def test_any_id_names_one_folder_below_the_given_one(id: str | int) -> None:
    from pathlib import PurePath

    name = file_name(str(id))
    assert PurePath(name).parts == (name,)
    assert name not in (".", "..")
    assert len(name.encode()) < 200


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("A. red\nB. blue\nC. green", ["A. red", "B. blue", "C. green"]),
        ("Options: a) red, or so, b) blue", ["a) red, or so", "b) blue"]),
        ("A. 1.5 B. 2", ["A. 1.5", "B. 2"]),
        ("red; dark blue", ["red", "dark blue"]),
        ("5 &lt; x; x &gt; 5", ["5 &lt; x", "x &gt; 5"]),
        ("['red' 'dark blue'\n 'it is \\'x\\' ']", ["red", "dark blue", "it is 'x' "]),
        ("N/A", []),
        ("A. red\nC. blue\nD. green", None),
        ("red\nblue\nAnswer:", None),
        ("red, blue", None),
        ("(A) angle A. x (B) angle B. y", None),
        ("A. red\nB. blue\nAnswer with a letter.", None),
    ],
)
def test_choices_in_one_text_are_split_where_that_is_clear(text: str, choices: list[str] | None) -> None:
    fields = {"id": 1, "image": "a.png", "question": "Which?"}
    strict = as_row(1, {**fields, "choices": text})
    if choices is None:
        assert strict.fault is not None
        assert "one text whose parts are not clear" in strict.fault.message
        assert (strict.fault.hint or "").startswith("put `;`")
    else:
        assert strict.fault is None
        assert choices_in(text) == choices
    for name in ("choices", "options"):
        told: list[str] = []
        rows = [*rows_of(((1, id, {**fields, "id": id, name: text}) for id in range(2)), say=told.append)]
        kept = [text] if choices is None else choices
        assert [(row.fault, row.passed["choices"]) for row in rows] == [(None, kept)] * 2
        assert sum("are not clear" in each for each in told) == (choices is None)


DATA_URL = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("column", ["images", "image_urls"])
@pytest.mark.parametrize(("cell", "images"), [("a.png; b.png", ("a.png", "b.png")), (DATA_URL, (DATA_URL,))])
def test_a_cell_lists_names_or_has_one_data_url(column: str, cell: str, images: tuple[str, ...]) -> None:
    content = {"id": 1, column: cell, "question": "q"}
    row = read_row(1, 1, content, resolve(content, {} if column == "images" else {"image": column}))
    assert (row.fault, row.images) == (None, images)
