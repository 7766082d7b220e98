"""How far the rows of a file are, and what failed in them."""

import time

from virc.core.errors import DataError, NetworkError, NoAnswerError, VircError
from virc.core.events import Reporter
from virc.solving.batch import RowDone

_SECONDS = 10.0


class Progress:
    """Counts rows, `resumed` of which a former run has done; reports a failed one, and itself every few seconds."""

    def __init__(self, resumed: int, report: Reporter) -> None:
        self.resumed, self.done, self.failed, self.wrong = resumed, 0, 0, 0
        self._report, self._reported = report, time.monotonic()

    def add(self, done: RowDone) -> None:
        """Count one row."""
        self.done += 1
        error = done.error
        if error and not isinstance(error, NoAnswerError):
            self.failed += 1
            # a picture that could not be fetched may be there on the next run
            self.wrong += isinstance(error, DataError) and not isinstance(error.__cause__, NetworkError)
            row = "" if done.row.id is None else f"row {done.row.id!r}: "  # else the message names its line
            self._report.warn(f"{row}{error.message}")
        if done.untraced:
            self._report.warn(f"row {done.row.id!r}: {done.untraced.message}")
        if "answer" in done.fields:
            self._report.log(f"row {done.row.id!r}: {done.fields['answer']}")
        if time.monotonic() - self._reported > _SECONDS:
            self._reported = time.monotonic()
            self._report.note(str(self))

    def check(self, kept: bool = True) -> None:
        """Raise VircError if a row failed; `kept` says whether the same command would skip the others."""
        if self.failed:
            raise failed_rows(self.failed, self.wrong, kept)


def failed_rows(failed: int, wrong: int, kept: bool = True) -> VircError:
    """The error of a file with failed rows, of which `wrong` fail again until they are corrected."""
    rows = "1 row" if failed == 1 else f"{failed} rows"
    if not kept:
        hint = "--to FILE keeps the others, so that a rerun does the failed rows alone"
    elif wrong == failed:
        hint = "correct them; the same command then does only them"
    elif wrong:
        hint = f"correct {wrong} of them; the same command does the failed rows again, and only them"
    else:
        hint = "the same command does them again, and only them"
    return VircError(f"{rows} failed", hint)


class Answers(Progress):
    """How many rows have an answer, have none, or failed."""

    def __init__(self, resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report)
        self.unanswered = self.unmet = 0

    def add(self, done: RowDone) -> None:
        """Count one row."""
        self.unanswered += isinstance(done.error, NoAnswerError)
        self.unmet += any(not loop["met"] for loop in done.fields.get("loops", ()))
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        answered = self.done - self.unanswered - self.failed
        counts = f"{answered} answered, {self.unanswered} without an answer, {self.failed} failed"
        unmet = f"; in {self.unmet} a loop ended without a match of its until" if self.unmet else ""
        return f"{self.done} rows: {counts}{unmet}{before}"
