"""Rows of a batch: what is read, what is wrong with them, and how many are in memory."""

import io
import json
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virc.core.limits.problem import MAX_IMAGES, MAX_QUESTION
from virc.solving import rows as batch
from virc.solving.rows import Row, as_row, choices_in, file_name, in_parallel, read_rows, split_choices
from virc.solving.sources.columns import read_row, resolve
from virc.solving.sources.row_files import rows_of


def rows(*lines: object) -> list[Row]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(read_rows(io.BytesIO(b"\n".join(texts))))


def test_a_row_has_its_images_question_and_what_passes_through() -> None:
    (row,) = rows({"id": 1, "image": "a.png", "question": "q", "answer": "3", "level": {"n": 2}})
    assert (row.id, row.images, row.question, row.fault) == (1, ("a.png",), "q", None)
    assert row.passed == {"question": "q", "answer": "3", "level": {"n": 2}}


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
        {"id": 1, "image": "a", "question": "x" * (MAX_QUESTION + 1)},
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


def test_blank_lines_a_byte_order_mark_and_a_missing_last_newline_are_no_fault() -> None:
    text = b'\xef\xbb\xbf{"id":1,"image":"a","question":"q"}\r\n\n  \n{"id":2,"image":"a","question":"q"}'
    found = list(read_rows(io.BytesIO(text)))
    assert [(row.id, row.line, row.fault) for row in found] == [(1, 1, None), (2, 4, None)]


def test_a_dash_in_a_row_is_a_file_not_standard_input() -> None:
    assert rows({"id": 1, "image": "-", "question": "q"})[0].images == ("./-",)


def test_the_hash_is_of_the_content_not_of_how_it_is_written() -> None:
    one, same, *others = rows(
        b'{"id": 1, "image": "a", "question": "q"}',
        b'{"question":"\\u0071","image":"a","id":1}',
        b'{"id": 1, "image": "a", "question": "r"}',
        b'{"id": 1, "image": "b", "question": "q"}',
        b'{"id": 1, "image": "a", "question": "q", "choices": ["1", "2"]}',
        b'{"id": 1, "image": "a", "question": "q", "answer": "7"}',
    )
    assert one.digest == same.digest
    assert len({one.digest, *(each.digest for each in others)}) == 5


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers()))
@example("../x")
def test_any_id_names_one_folder_below_the_given_one(id: str | int) -> None:
    from pathlib import PurePath

    name = file_name(str(id))
    assert PurePath(name).parts == (name,)
    assert name not in (".", "..")
    assert len(name.encode()) < 200


def test_rows_are_read_no_further_ahead_than_needed() -> None:
    taken: list[int] = []
    gate = threading.Event()

    def endless() -> Iterator[Row]:
        for number in range(1000):
            taken.append(number)
            if number == 100:
                raise AssertionError("rows are taken without end")
            yield Row(number)

    def work(row: Row) -> None:
        gate.wait(60)

    stop = threading.Event()
    runner = threading.Thread(target=in_parallel, args=(endless(), work, 3, stop), daemon=True)
    runner.start()
    deadline = time.monotonic() + 200
    while len(taken) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(taken) <= 5
    stop.set()
    gate.set()
    runner.join(60)
    assert not runner.is_alive()


@pytest.mark.parametrize("workers", [1, 4])
def test_what_work_raises_ends_the_batch_and_is_raised(workers: int) -> None:
    done, stop = list[int](), threading.Event()

    def work(row: Row) -> None:
        if row.line == 10:
            raise ZeroDivisionError
        if row.line > 10:
            stop.wait(60)
        done.append(row.line)

    with pytest.raises(ZeroDivisionError):
        in_parallel((Row(n) for n in range(10_000)), work, workers, stop)
    assert stop.is_set()
    assert len(done) < 20


@pytest.mark.parametrize(
    ("columns", "choices"),
    [
        ({"A": "red", "B": "blue", "C": ""}, ["red", "blue"]),
        ({"options": "['red', 'blue']"}, ["red", "blue"]),
        ({"Candidates": "red; blue"}, ["red", "blue"]),
        ({"option1": "red", "option3": "blue"}, None),
        ({"A": "red"}, None),
        ({"choices": ["x", "y"], "A": "red", "B": "blue"}, ["x", "y"]),
    ],
)
def test_choices_are_read_from_their_usual_columns(columns: dict[str, object], choices: list[str] | None) -> None:
    content = {"id": 1, "image": "a.png", "question": "Which?", **columns}
    row = read_row(1, 1, content, resolve(content, {}))
    assert (row.fault, row.passed.get("choices")) == (None, choices)


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


@pytest.mark.parametrize(
    ("text", "question", "count"),
    [
        ("Which is red?\nChoices:\n(A) this\n(B) that", "Which is red?", 2),
        ("Which? A. 5 B. 6 C. 7", "Which?", 3),
        ("Is AB) longer, C. or D?", "Is AB) longer, C. or D?", 0),
    ],
)
def test_choices_at_the_end_of_a_question_are_found(text: str, question: str, count: int) -> None:
    asked, choices = split_choices(text)
    assert (asked, len(choices)) == (question, count)


DATA_URL = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("column", ["images", "image_urls"])
@pytest.mark.parametrize(("cell", "images"), [("a.png; b.png", ("a.png", "b.png")), (DATA_URL, (DATA_URL,))])
def test_a_cell_lists_names_or_has_one_data_url(column: str, cell: str, images: tuple[str, ...]) -> None:
    content = {"id": 1, column: cell, "question": "q"}
    row = read_row(1, 1, content, resolve(content, {} if column == "images" else {"image": column}))
    assert (row.fault, row.images) == (None, images)
