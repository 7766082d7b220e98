"""Rows whose endpoint goes away are done again, and no others; nothing here waits."""

import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from virc.core.errors import DataError, NetworkError, VircError
from virc.core.result_log import Claims
from virc.core.timeouts import Stop
from virc.solving import batch as retry
from virc.solving.batch import HOPELESS_IN_A_ROW, MAX_SECONDS, Outage, RowDone, through
from virc.solving.rows import Row


def gone(broken: bool = False, everywhere: bool = False) -> NetworkError:
    """An error of an endpoint."""
    error = NetworkError("gone")
    error.broken, error.fails_all_requests = broken, everywhere
    return error


class NoWait(Stop):
    """A stop on which nobody waits; `looks` counts how often somebody wanted to."""

    looks = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == retry.LOOK_SECONDS
        self.looks += 1
        return self.is_set()


def run(
    results: Sequence[VircError | None], answers: Sequence[bool], rows: int = 1, stop: Stop | None = None
) -> tuple[list[RowDone], list[object], list[str]]:
    """What is reported of rows, the ids in the order in which they were tried, and what was said of the wait.

    Args:
        results: of each try; those behind the last are right.
        answers: of the endpoint to each look; then it answers.
    """
    tries, looks, done = iter(results), iter(answers), list[RowDone]()
    asked, said = list[object](), list[str]()

    def work(row: Row) -> RowDone:
        asked.append(row.id)
        return RowDone(row, {}, next(tries, None))

    outage = Outage(lambda: next(looks, True), said.append)
    numbered = (Row(number, number, digest=str(number)) for number in range(rows))
    through(numbered, Claims(), work, done.append, 1, outage, stop or NoWait())
    return done, asked, said


@pytest.mark.parametrize(
    ("results", "answers", "asked", "is_failed", "waits"),
    [
        ([gone()], [False, True], 2, False, 1),
        ([gone(broken=True)] * 3, [True] * 3, 3, True, 0),
        ([gone()] * 3, [False, True] * 3, 3, True, 3),
        ([gone()], [True], 1, True, 0),
        ([DataError("no picture")], [], 1, True, 0),
    ],
    ids=["away", "breaks each", "takes the server down", "slow", "wrong"],
)
def test_a_row_is_done_again_where_its_endpoint_was_away(
    results: list[VircError], answers: list[bool], asked: int, is_failed: bool, waits: int
) -> None:
    (done,), tried, said = run(results, answers)
    assert (len(tried), bool(done.error), len(said)) == (asked, is_failed, waits)


@pytest.mark.parametrize(("wait", "waited"), [(7.5, [7.5]), (MAX_SECONDS, [MAX_SECONDS]), (MAX_SECONDS + 1, [])])
def test_a_wait_that_a_server_asks_for_is_kept_within_reason(wait: float, waited: list[float]) -> None:
    asked, stop = list[float](), NoWait()
    stop.wait = lambda timeout=None: bool(asked.append(timeout))  # type: ignore[method-assign,assignment]
    error, began, outage = gone(), time.monotonic(), Outage(lambda: True, lambda _: None)
    error.wait = wait
    assert outage.over(error, began, stop) == bool(waited)
    assert asked == waited
    assert outage.over(gone(), began, stop) == bool(waited), "a row that failed meanwhile is done again"


def test_an_endpoint_that_stays_away_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    looks, stop, said = list[int](), NoWait(), list[str]()
    outage = Outage(lambda: bool(looks.append(1)), said.append)
    for _ in range(4):
        with pytest.raises(NetworkError, match="did not come back within 5 minutes") as raised:
            outage.over(gone(), 0.0, stop)
        assert raised.value.hint == "the same command continues from here"
    assert len(said) == 1
    assert len(looks) == 1 + stop.looks <= 5


def hopeless(count: int, everywhere: bool) -> list[VircError]:
    return [gone(everywhere=everywhere) for _ in range(count)]


@pytest.mark.parametrize(
    ("results", "ends"),
    [
        (hopeless(HOPELESS_IN_A_ROW, True), True),
        (hopeless(HOPELESS_IN_A_ROW - 1, True), False),
        ([*hopeless(HOPELESS_IN_A_ROW - 1, True), None, *hopeless(HOPELESS_IN_A_ROW - 1, True)], False),
    ],
    ids=["all alike", "one less", "one right between"],
)
def test_rows_that_fail_alike_one_after_the_other_end_the_batch(results: list[VircError | None], ends: bool) -> None:
    if ends:
        with pytest.raises(NetworkError, match=f"{HOPELESS_IN_A_ROW} rows in a row failed; the last: gone"):
            run(results, [], rows=100)
    else:
        assert len(run(results, [], rows=100)[0]) == 100
