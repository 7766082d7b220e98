"""The lines of a file that another process writes."""

import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from virc.core.files import write_whole
from virc.runs.follow import lines
from virc.runs.metrics import LONGEST_LINE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def new(following: Iterator[bytes | None]) -> list[bytes | None]:
    """What came since the last look."""
    return list(takewhile(lambda line: line is not None, following))


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_lines_come_whole_and_once(path: Path) -> None:
    following = lines(path)
    assert new(following) == []
    add(path, b"one\ntw")
    assert new(following) == [b"one\n"]
    assert new(following) == []
    add(path, b"o\nthree\n")
    assert new(following) == [b"two\n", b"three\n"]


def test_a_file_that_was_replaced_is_read_anew(path: Path) -> None:
    following = lines(path)
    add(path, b"one\ntwo\nhal")
    assert new(following) == [b"one\n", b"two\n"]
    write_whole(path, b"one\nother, and longer than before\n")
    assert new(following) == [b"one\n", b"other, and longer than before\n"]
    add(path, b"three\n")
    assert new(following) == [b"three\n"]


def test_what_was_written_before_the_file_was_replaced_is_not_lost(path: Path) -> None:
    following = lines(path)
    add(path, b"one\n")
    assert new(following) == [b"one\n"]
    add(path, b"two\n")
    write_whole(path, b"three\n")
    assert new(following) == [b"two\n", b"three\n"]


def test_a_file_that_was_cut_is_read_anew(path: Path) -> None:
    following = lines(path)
    add(path, b"one\ntwo\n")
    assert len(new(following)) == 2
    os.truncate(path, 0)
    assert new(following) == []
    add(path, b"new\n")
    assert new(following) == [b"new\n"]


def test_it_may_begin_near_the_end_with_a_whole_line(path: Path) -> None:
    add(path, b"".join(b"line %d\n" % number for number in range(1000)))
    assert new(lines(path, 20)) == [b"line 998\n", b"line 999\n"]
    assert len(new(lines(path, 10**6))) == 1000


def test_a_line_without_an_end_is_cut(path: Path) -> None:
    add(path, bytes(3 * LONGEST_LINE + 5))
    assert [len(line or b"") for line in new(lines(path))] == [LONGEST_LINE] * 3
