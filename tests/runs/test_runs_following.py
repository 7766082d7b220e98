"""The lines of a file that another process writes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import pytest
from support.made import metric

from virc.core.files import write_whole
from virc.runs.follow import lines, mark, seconds_left
from virc.runs.metrics import LONGEST_LINE, Metric


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


def test_a_file_that_vanishes_has_no_further_lines(path: Path) -> None:
    following = lines(path)
    add(path, b"one\n")
    assert len(new(following)) == 1
    path.unlink()
    assert new(following) == []
    add(path, b"two\n")
    assert new(following) == [b"two\n"]


def test_it_may_begin_near_the_end_with_a_whole_line(path: Path) -> None:
    add(path, b"".join(b"line %d\n" % number for number in range(1000)))
    assert new(lines(path, 20)) == [b"line 998\n", b"line 999\n"]
    assert len(new(lines(path, 10**6))) == 1000


def test_a_line_without_an_end_is_cut(path: Path) -> None:
    add(path, bytes(3 * LONGEST_LINE + 5))
    assert [len(line or b"") for line in new(lines(path))] == [LONGEST_LINE] * 3


def openings(path: Path) -> int:
    """How often this process has a file open; other threads may open and close others."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += each.readlink() == path.resolve()
    return found


def test_the_file_is_let_go(path: Path) -> None:
    add(path, b"one\n")
    following = lines(path)
    next(following)
    assert openings(path) == 1
    following.close()  # type: ignore[attr-defined]
    assert openings(path) == 0


def test_marks_grow_along_a_run() -> None:
    course = [
        metric(1),
        metric(2),
        metric(2, loss=None, eval_loss=1.0),
        metric(3),
        metric(2, attempt=2),
        metric(3, attempt=2),
    ]
    assert sorted(course, key=mark) == course
    assert len({mark(each) for each in course}) == len(course)


@pytest.mark.parametrize(
    ("first", "last", "left"),
    [
        (metric(10, seconds=5.0), metric(20, seconds=25.0), 160.0),
        (metric(100, seconds=5.0), metric(100, seconds=5.0), None),
        (metric(99, seconds=5.0), metric(100, seconds=6.0), 0.0),
        (Metric(step=1, seconds=1.0), Metric(step=2, seconds=2.0), None),
        (Metric(step=1, total=9), Metric(step=2, total=9), None),
        (metric(1, seconds=float("nan")), metric(2), None),
        (metric(1, seconds=9.0), metric(2, seconds=1.0), None),
    ],
)
def test_the_time_left_follows_the_pace_of_the_attempt(first: Metric, last: Metric, left: float | None) -> None:
    assert seconds_left(first, last) == left
