"""Many problems and one model: rows in, one result each out, several in work at a time.

What fails in one row costs that row alone; what the endpoint does to every row ends the batch.
"""

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from virc_recipes.batch import Row, folder_name, in_parallel
from virc_recipes.clauses import clause
from virc_recipes.data.json_rows import one_line
from virc_recipes.deadline import Deadline
from virc_recipes.errors import DataError, NetworkError, UsageError, VircError
from virc_recipes.ledger import Claims
from virc_recipes.opened import Opened
from virc_recipes.outcome import Fields, facts, failure_of, outcome, trace_folders, write_traces
from virc_recipes.reasoning.images import Shown
from virc_recipes.reasoning.session import show_input
from virc_recipes.solve import SCHEMA, Event, SolveConfig, Solved, solve
from virc_recipes.sources import open_source

HOPELESS_IN_A_ROW = 20
_SERVED_AT_ONCE = 16


class BatchConfig(msgspec.Struct, frozen=True):
    """How the rows of a batch are solved.

    Args:
        solving: of every row; its timeout is for each.
        base: folder that image paths of the rows start from.
        traces: folder in which the trace of every row gets one of its own; None keeps none.
        offline: fetch no picture.
        at_once: rows in work at a time; None: 16 on an endpoint, 1 here.
    """

    solving: SolveConfig
    base: Path = Path()
    traces: Path | None = None
    offline: bool = False
    at_once: int | None = None


class RowDone(msgspec.Struct, frozen=True):
    """What came of a row: its fields of `virc.solve/1`, or the error; and why its trace was not kept, if so."""

    row: Row
    fields: Fields
    error: VircError | None = None
    untraced: VircError | None = None


def solve_batch(
    config: BatchConfig,
    opened: Opened,
    rows: Iterable[Row],
    claims: Claims,
    on_row: Callable[[RowDone], None],
) -> None:
    """Solve every row that is still to be done.

    Args:
        claims: which rows are done.
        on_row: told of every row when it is done, one at a time. A row in work when the batch ends is not told.

    Raises:
        UsageError: several rows at a time are asked of a model in this process.
        VircError: traces cannot be written, or the endpoint failed row after row for a reason of its own.
    """
    workers = _workers(config.at_once, opened)
    if config.traces:
        _check_writable(config.traces)
    stop, lock, endpoint = threading.Event(), threading.Lock(), _Endpoint()

    def work(row: Row) -> None:
        done = _solve_row(config, opened, row, stop)
        with lock:
            if stop.is_set():  # broken off, so that it is done again
                return
            on_row(done)
            endpoint.did(done.error)

    in_parallel(_unanswered(rows, claims), work, workers, stop)


def made_with(known: Fields) -> Fields:
    """What all answers in one file share, of the `facts` that every line states."""
    shared = {"model": known["model"], "protocol": known["protocol"], **known["settings"]}
    del shared["timeout"]  # it says when to give up, not what to answer
    return shared


def as_line(done: RowDone, known: Mapping[str, object], error: Mapping[str, object] | None) -> bytes:
    """A row's line of output, without its newline.

    Args:
        known: what stands in every line.
        error: `done.error` as an object.
    """
    row = done.row
    fields = {"schema": SCHEMA, "id": row.id, "row": row.digest, **known, **done.fields}
    fields |= {"error": error, "input": row.passed}
    return one_line(fields).encode()


class _Endpoint:
    """Ends the batch when row after row failed for a reason that is not in the rows."""

    def __init__(self) -> None:
        self._failed = 0

    def did(self, error: VircError | None) -> None:
        if error is None or not error.everywhere:
            self._failed = 0
            return
        self._failed += 1
        if self._failed >= HOPELESS_IN_A_ROW:
            raise type(error)(f"{self._failed} rows in a row failed; the last: {error.message}", error.hint)


def _workers(at_once: int | None, opened: Opened) -> int:
    if opened.device is None:
        return at_once or _SERVED_AT_ONCE
    if at_once is not None and at_once > 1:
        raise UsageError(
            "a model in this process does one row at a time", "--endpoint URL, or --concurrency 1"
        )
    return 1


def _check_writable(traces: Path) -> None:
    """Try the folder before the model is paid for."""
    try:
        traces.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trace-", dir=traces):
            pass
    except OSError as error:
        raise VircError(f"cannot write traces to {traces}: {clause(error)}") from error


def _unanswered(rows: Iterable[Row], claims: Claims) -> Iterator[Row]:
    """The rows still to be done; one whose id was taken comes with that fault."""
    for row in rows:
        try:
            if row.id is None or row.digest is None or claims.claim(row.id, row.digest):
                yield row
        except DataError as fault:
            yield msgspec.structs.replace(row, fault=fault)


def _solve_row(config: BatchConfig, opened: Opened, row: Row, stop: threading.Event) -> RowDone:
    fields: Fields = {}
    untraced = None
    try:
        if row.fault:
            raise row.fault
        folder = config.traces / folder_name(row) if config.traces else None
        folders = trace_folders(folder, config.solving) if folder else []
        solved = _solved(config, opened, row, stop)
        if isinstance(solved.error, KeyboardInterrupt):
            raise solved.error
        fields |= outcome(solved)
        untraced = write_traces(folders, solved.attempts, config.solving, facts(opened, config.solving))
        fields["trace"] = str(folder) if folder and not untraced else None
        if error := failure_of(solved, opened):
            raise error
    except VircError as error:
        return RowDone(row, fields, error, untraced)
    except KeyboardInterrupt:  # `stop` is set: nobody is told
        return RowDone(row, fields)
    except Exception as error:  # a fault of ours in one row must not cost the others
        return RowDone(row, fields, VircError(f"internal: {type(error).__name__}: {error}"))
    return RowDone(row, fields, None, untraced)


def _solved(config: BatchConfig, opened: Opened, row: Row, stop: threading.Event) -> Solved:
    deadline = Deadline(config.solving.timeout)
    protocol, backend = opened.wording.protocol, opened.backend

    def shown(source: str) -> Shown:
        """Small as soon as it is opened: many rows are in work, and each may have many large pictures."""
        return show_input(
            open_source(source, config.base, config.offline, deadline.left()), protocol, backend.grid
        )

    try:
        images = [shown(source) for source in row.images]
    except NetworkError as error:  # not our endpoint's fault, but that of the address in the row
        raise DataError(error.message, error.hint) from error
    except ValueError as error:
        raise DataError(str(error)) from error

    def unless_stopped(_: Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    return solve(
        config.solving, backend, protocol, images, row.question, on_event=unless_stopped, deadline=deadline
    )
