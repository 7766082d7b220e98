"""Many problems: rows in, one JSON line each out, progress on stderr."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

import msgspec

from virc_cli import output
from virc_cli.solving.setup import (
    Setup,
    failure_of,
    open_chosen,
    outcome,
    trace_folders,
    write_traces,
)
from virc_recipes.batch import Row, folder_name, in_parallel, read_rows
from virc_recipes.clauses import clause
from virc_recipes.errors import DataError, NoAnswerError, UsageError, VircError
from virc_recipes.ledger import Claims, Ledger
from virc_recipes.opened import Opened
from virc_recipes.solve import SCHEMA, Event, solve
from virc_recipes.sources import open_source, standard_input

STREAM = "-"
_SERVED_AT_ONCE = 16
_HOPELESS_IN_A_ROW = 20
_PROGRESS_SECONDS = 10.0

Fields = dict[str, object]


class Stream(Claims):
    """The output of a batch on stdout: nothing is taken up."""

    resumed = 0

    def append(self, line: bytes) -> None:
        """Print one line."""
        output.line(line.decode())


class Tally:
    """How many rows have an answer, have none, or failed; told every few seconds."""

    def __init__(self, resumed: int) -> None:
        self.resumed, self.answered, self.unanswered, self.failed = resumed, 0, 0, 0
        self._hopeless, self._told = 0, time.monotonic()

    def add(self, row: Row, error: VircError | None) -> None:
        """Count one row.

        Raises:
            VircError: that of the last row, when row after row failed for a reason that is not in the rows.
        """
        self.answered += error is None
        self.unanswered += isinstance(error, NoAnswerError)
        if error and not isinstance(error, NoAnswerError):
            self.failed += 1
            output.warn(f"row {row.id!r}: {error.message}")
        in_the_row = error is None or isinstance(error, NoAnswerError | DataError)
        self._hopeless = 0 if in_the_row else self._hopeless + 1
        if error and self._hopeless >= _HOPELESS_IN_A_ROW:
            output.note(str(self))
            raise type(error)(f"{self._hopeless} rows in a row failed; the last: {error.message}", error.hint)
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            output.note(str(self))

    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        rows = self.answered + self.unanswered + self.failed
        counts = f"{self.answered} answered, {self.unanswered} without an answer, {self.failed} failed"
        return f"{rows} rows: {counts}{before}"


def run(setup: Setup, source: str, out: str | None, at_once: int | None, blank: Mapping[str, object]) -> None:
    """Solve every row of a file.

    Args:
        source: JSONL file, or `-` for standard input.
        out: file the lines go to, or `-` for stdout, which is the default.
        at_once: rows in work at a time; None: 16 on an endpoint, 1 here.
        blank: the fields of a line before anything is known.

    Raises:
        VircError: a row failed, or all of it cannot be done.
    """
    file, base = _open_rows(source, out)
    with file as rows:
        opened, known = open_chosen(setup)
        workers = _workers(at_once, opened)
        stop, lock = threading.Event(), threading.Lock()
        with _sink(out, known) as sink:
            tally = Tally(sink.resumed)

            def work(row: Row) -> None:
                fields, error = _answer(row, base, setup, opened, known, stop)
                if stop.is_set():  # broken off, so that it is done again
                    return
                line = {"schema": SCHEMA, "id": row.id, "row": row.digest, **blank, **known, **fields}
                line |= {"error": error and output.error_fields(error), "input": row.passed}
                with lock:
                    sink.append(msgspec.json.encode(line))
                    tally.add(row, error)

            in_parallel(_unanswered(read_rows(rows), sink), work, workers, stop)
        opened.backend.close()
    output.note(str(tally))
    if tally.failed:
        raise VircError(f"{tally.failed} rows failed", "the same command does them again, and only them")


def _open_rows(source: str, out: str | None) -> tuple[AbstractContextManager[IO[bytes]], Path]:
    """The rows, and the folder their image paths start from."""
    if source == STREAM:
        return nullcontext(standard_input()), Path()
    if out not in (None, STREAM) and Path(str(out)).resolve() == Path(source).resolve():
        raise UsageError("--batch and --out are the same file", "--out answers.jsonl")
    try:
        return Path(source).open("rb"), Path(source).parent
    except OSError as error:
        raise DataError(f"cannot read the rows {source}: {clause(error)}") from error


def _workers(at_once: int | None, opened: Opened) -> int:
    if opened.device is None:
        return at_once or _SERVED_AT_ONCE
    if at_once is not None and at_once > 1:
        raise UsageError(
            "a model in this process does one row at a time", "--endpoint URL, or --concurrency 1"
        )
    return 1


def _sink(out: str | None, known: Mapping[str, object]) -> AbstractContextManager[Ledger | Stream]:
    if out in (None, STREAM):
        return nullcontext(Stream())
    settings = known["settings"]
    assert isinstance(settings, dict)
    made_with = {"model": known["model"], "protocol": known["protocol"], **settings}
    del made_with["timeout"]  # it says when to give up, not what to answer
    return Ledger(Path(str(out)), SCHEMA, made_with, {output.exit_code(NoAnswerError(""))})


def _unanswered(rows: Iterator[Row], sink: Claims) -> Iterator[Row]:
    """The rows still to be done; one whose id was taken comes with that fault."""
    for row in rows:
        try:
            if row.id is None or row.digest is None or sink.claim(row.id, row.digest):
                yield row
        except DataError as fault:
            yield msgspec.structs.replace(row, fault=fault)


def _answer(
    row: Row, base: Path, setup: Setup, opened: Opened, known: Fields, stop: threading.Event
) -> tuple[Fields, VircError | None]:
    """What the output says of one row, and what went wrong."""
    fields: Fields = {}
    try:
        if row.fault:
            raise row.fault
        images = [open_source(source, base, setup.offline) for source in row.images]
        folder = setup.trace / folder_name(row) if setup.trace else None
        folders = trace_folders(folder, setup.config) if folder else []
        protocol = opened.wording.protocol
        solved = solve(setup.config, opened.backend, protocol, images, row.question, on_event=_unless(stop))
        fields |= outcome(solved)
        write_traces(folders, solved.attempts, setup, known)
        fields["trace"] = folder and str(folder)
        error = failure_of(solved, opened)
        if error:
            raise error
    except VircError as error:
        return fields, error
    except KeyboardInterrupt:  # `stop` is set: nobody reads the line
        return fields, None
    except Exception as error:  # a fault of ours in one row must not cost the others
        return fields, VircError(f"internal: {type(error).__name__}: {error}")
    return fields, None


def _unless(stop: threading.Event) -> Callable[[Event], None]:
    def check(_: Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    return check
