"""Many problems: rows in, one JSON line each out, progress on stderr."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from virc.core.errors import DataError, NoAnswerError, UsageError, VircError
from virc.core.result_log import Claims, Ledger
from virc.core.text import clause
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with, solve_batch
from virc.solving.image_source import standard_input
from virc.solving.one import SCHEMA
from virc.solving.outcome import Fields
from virc.solving.rows import read_rows
from virc_cli.console import output
from virc_cli.solving.setup import Setup, open_chosen

STREAM = "-"
_PROGRESS_SECONDS = 10.0


class Stream(Claims):
    """The output of a batch on stdout: nothing is taken up."""

    resumed = 0

    def append(self, line: bytes) -> None:
        """Print one line."""
        output.line(line.decode())


class Progress:
    """What came of the rows so far: a failed one is told at once, `str` of it every few seconds."""

    def __init__(self, resumed: int) -> None:
        self.resumed, self.failed = resumed, 0
        self._told = time.monotonic()

    def add(self, done: RowDone) -> None:
        """Count one row, and tell what is wrong with it."""
        if done.error and not isinstance(done.error, NoAnswerError):
            self.failed += 1
            row = "" if done.row.id is None else f"row {done.row.id!r}: "  # else the message names its line
            output.warn(f"{row}{done.error.message}")
        if done.untraced:
            output.warn(f"row {done.row.id!r}: {done.untraced.message}")
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            output.note(str(self))

    def check(self) -> None:
        """Raise VircError if a row failed."""
        if self.failed:
            raise failure(self.failed)


def failure(failed: int) -> VircError:
    """What is raised where so many rows failed."""
    rows = "1 row" if failed == 1 else f"{failed} rows"
    return VircError(f"{rows} failed", "the same command does them again, and only them")


class Tally(Progress):
    """How many rows have an answer, have none, or failed."""

    def __init__(self, resumed: int) -> None:
        super().__init__(resumed)
        self.answered, self.unanswered = 0, 0

    def add(self, done: RowDone) -> None:
        """Count one row."""
        self.answered += done.error is None
        self.unanswered += isinstance(done.error, NoAnswerError)
        super().add(done)

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
        at_once: rows in work at a time; None: as many as suit the model.
        blank: the fields of a line before anything is known.

    Raises:
        VircError: a row failed, or all of it cannot be done.
    """
    if source != STREAM and out not in (None, STREAM) and Path(str(out)).resolve() == Path(source).resolve():
        raise UsageError("--batch and --to are the same file", "--to answers.jsonl")
    file, base = open_rows(source)
    config = BatchConfig(setup.config, base, setup.trace, setup.offline, at_once)
    with file as rows:
        opened, known = open_chosen(setup)
        with _sink(out, known) as sink:
            tally = Tally(sink.resumed)

            def on_row(done: RowDone) -> None:
                error = output.error_fields(done.error) if done.error else None
                sink.append(as_line(done, {**blank, **known}, error))
                tally.add(done)

            try:
                solve_batch(config, opened, read_rows(rows), sink, on_row, output.note)
            except KeyboardInterrupt:
                output.note("rows in work were broken off: they have no line and no trace")
                raise
            finally:
                output.note(str(tally))
        opened.backend.close()
    tally.check()


def open_rows(source: str) -> tuple[AbstractContextManager[IO[bytes]], Path]:
    """The rows, and the folder their image paths start from: that of their file, where it is one.

    Args:
        source: JSONL file, or `-` for standard input.

    Raises:
        DataError: the file cannot be opened, or holds one array.
    """
    if source == STREAM:
        return nullcontext(standard_input()), Path()
    path = Path(source)
    try:
        if path.is_file() and _begins_as_array(path):
            hint = f"virc data convert {source} --to DIR --format batch"
            raise DataError(f"{source} is an array, where one object a line is due", hint)
        return path.open("rb"), path.parent if path.is_file() else Path()
    except OSError as error:
        raise DataError(f"cannot read the rows {source}: {clause(error)}") from error


def _begins_as_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"["


def _sink(out: str | None, known: Fields) -> AbstractContextManager[Ledger | Stream]:
    if out in (None, STREAM):
        return nullcontext(Stream())
    return Ledger(Path(str(out)), SCHEMA, made_with(known), {output.exit_code(NoAnswerError(""))})
