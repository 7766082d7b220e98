"""The rows of a batch and the file of their answers, which a rerun continues."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from virc.core.errors import DataError, NoAnswerError, UsageError
from virc.core.events import Reporter
from virc.core.result_log import Claims, Ledger
from virc.core.text import clause
from virc.solving.batch import RowDone, as_line, made_with
from virc.solving.image_source import STREAM, standard_input
from virc.solving.one import SCHEMA
from virc.solving.outcome import Fields
from virc.solving.progress import Answers


class Lines(Claims):
    """The output of a batch that is not kept: every row is done."""

    resumed = 0

    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def append(self, line: bytes) -> None:
        """Hand a line over."""
        self._on_line(line.decode())


def check_files(source: str, to: str | None) -> None:
    """Refuse rows and answers in one file, as a UsageError."""
    if source != STREAM and to not in (None, STREAM) and Path(str(to)).resolve() == Path(source).resolve():
        raise UsageError("--batch and --to are the same file", "--to answers.jsonl")


def write_answers(
    solve_rows: Callable[[Claims, Callable[[RowDone], None]], None],
    source: str,
    to: str | None,
    known: Fields,
    blank: Mapping[str, object],
    report: Reporter,
    on_line: Callable[[str], None],
) -> None:
    """Write a line for every row that `solve_rows` reports, and report how many there were.

    Args:
        solve_rows: solves those that are not among the claims.
        known: the fields of every line.

    Raises:
        VircError: as `solve_file`.
    """
    kept = to not in (None, STREAM)
    ledger: AbstractContextManager[Ledger | Lines] = nullcontext(Lines(on_line))
    if kept:
        ledger = Ledger(Path(str(to)), SCHEMA, made_with(known), {NoAnswerError.code})
    with ledger as sink:
        progress = Answers(sink.resumed, report)

        def on_row(done: RowDone) -> None:
            sink.append(as_line(done, {**blank, **known}))
            progress.add(done)

        try:
            solve_rows(sink, on_row)
        except KeyboardInterrupt:
            again = "; the same command goes on with them" if kept else ""
            report.note(f"interrupted: rows in work have no line and no trace{again}")
            raise
        finally:
            report.note(str(progress))
    if not progress.done and not progress.resumed:
        report.warn(f"{source} has no rows")
    progress.check(kept)


def open_rows(source: str) -> tuple[AbstractContextManager[IO[bytes]], Path]:
    """The rows of a file, `-` for standard input, and the folder that their image paths start from."""
    if source == STREAM:
        return nullcontext(standard_input()), Path()
    path = Path(source)
    try:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(1) == b"[":
                    hint = f"virc data convert {source} --to DIR --format batch"
                    raise DataError(f"{source} is an array, where one object a line is due", hint)
        return path.open("rb"), path.parent if path.is_file() else Path()
    except OSError as error:
        raise DataError(f"cannot read the rows {source}: {clause(error)}") from error
