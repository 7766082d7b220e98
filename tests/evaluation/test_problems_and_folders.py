"""What is asked and what was answered before: rows left out, rows that changed, folders of other answers."""

from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import DataError, UsageError
from virc.core.events import Event, Reporter
from virc.evaluation.api import evaluate
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.problems import find_problems, problems_of, rows_of
from virc.solving.rows import BatchRow


def row(line: int, id: str, **fields: object) -> BatchRow:
    passed = {"question": "q", "answer": "7", **fields}
    return BatchRow(line, id, question="q", digest=f"row {line}", passed=passed)


ODD = BatchRow(2, "b", fault=DataError("line 2: is odd", "mend it"))
ROWS = [row(1, "a"), ODD, row(3, "a"), row(4, "c", category=[[1]]), row(5, "d")]


def bench(rows: list[BatchRow], published: bool = True) -> LocalBenchmark:
    return LocalBenchmark("bench", Path(), lambda: iter(rows), published)


def test_wrong_rows_of_a_published_benchmark_are_counted_and_left_out() -> None:
    said, faults = list[Event](), list[DataError]()
    found = find_problems(bench(ROWS), None, Reporter(said.append))
    assert [*found] == ["a", "d"]
    assert [each.text for each in said] == ["rows of bench left out: 3; the first: line 2: is odd"]
    assert [each.line for each in rows_of(bench(ROWS), found, None)] == [1, 5]  # and not the second of one id
    assert [*problems_of(bench(ROWS), 1, faults.append)] == ["a"]
    assert (faults, [*rows_of(bench(ROWS), found, 4)]) == ([], [ROWS[0]])
    problems_of(bench(ROWS), 4, faults.append)
    assert [each.message for each in faults][:2] == ["line 2: is odd", "line 3: the id 'a' comes twice"]
    assert faults[2].message.startswith("line 4: category holds ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": []}, "no model is named"),
        ({"models": "tiny", "seeds": 0}, "seeds is 0"),
        ({"models": "tiny", "traces": "some"}, "traces is 'some'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_first(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate("none.jsonl", **given)
