"""Answers as a table: what a spreadsheet would compute is text in it, and what was torn off is cut."""

import csv
import io
import os
from pathlib import Path

import pytest

from virc.core.errors import UsageError
from virc.core.result_log import Ledger
from virc.solving.answer_file import Sheet, cell, check_files

RUN = {"schema": "s/1", "row": "r", "error": None, "model": "m", "protocol": None, "settings": {"seed": 0}}


def ledger(path: Path, *columns: str, seed: int = 0) -> Ledger:
    made_with = {"model": "m", "protocol": None, "seed": seed}
    return Ledger(path, "s/1", made_with, {8}, layout=Sheet(columns or ("id", "answer")))


def line(id: str, answer: str, code: int | None = None) -> bytes:
    run = {**RUN, "id": id, "error": code and {"code": code}}
    return Sheet(("id", "answer")).line([id, answer], run)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+cmd|'/C calc'!A0", "'+cmd|'/C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("＝1+1", "'＝1+1"),
        *((same, same) for same in ("-3", "+5", "-3.5e4", "-1,234.5", "-12 %", "-3 cm", "-", "x=1", "a@b.c", "73°")),
        (None, ""),
        (True, "true"),
    ],
)
def test_a_cell_that_would_be_computed_is_text(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_column_that_would_be_computed_is_text_too() -> None:
    assert Sheet(("=1+1", "b"), ";", bom=True).header == b"\xef\xbb\xbf'=1+1;b;run\n"


def test_a_pipe_is_no_file_for_answers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="/pipe is not a file") as caught:
        check_files([], str(tmp_path / "pipe"))
    assert caught.value.hint == "--to answers.csv"


def test_cells_come_back_as_they_were() -> None:
    cells = ["a,b", 'say "x"', "two\nlines", "", " x ", "∠B"]
    record = Sheet(tuple("abcdef")).line(cells, RUN)
    assert next(csv.reader(io.StringIO(record.decode(), newline="")))[:-1] == cells


def test_a_torn_table_is_cut_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    first, second = line("a", 'two\n"lines"'), line("b", "é")
    header = Sheet(("id", "answer")).header
    whole = header + first + b"\n" + second + b"\n"
    ends = (len(header), len(header + first) + 1, len(whole))
    near_ends = {end + step for end in (0, *ends) for step in (-1, 0, 1)}
    for length in sorted({*near_ends, *range(0, len(whole), 9)} & {*range(len(whole) + 1)}):
        path.write_bytes(whole[:length])
        with ledger(path) as out:
            assert out.resumed == sum(length >= end for end in ends[1:]), length
            assert out.claim("a", "r") == (length < ends[1])
            out.append(second)
        kept = max((end for end in ends if end <= length), default=len(header))
        assert path.read_bytes() == whole[:kept] + second + b"\n"
