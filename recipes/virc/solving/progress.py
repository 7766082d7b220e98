"""Progress of the rows of a file, and their failures."""

import time
from collections.abc import Mapping, Sequence

from virc.config.taken import Left
from virc.core.errors import ConfigError, NetworkError, NoAnswerError, SetupError, VircError
from virc.core.events import Reporter
from virc.core.text import counted, duration
from virc.models.costs import Budget, amount
from virc.solving.batch import RowDone


class Progress:
    """Counts rows and reports each failed one; after each row it reports how far, how fast and for how long."""

    def __init__(self, resumed: int, report: Reporter, total: int | None = None, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.resumed, self.done, self.unanswered, self.failed, self.wrong, self.tokens = resumed, 0, 0, 0, 0, 0
        self._report, self._total, self._began = report, total, time.monotonic()
        self._hints = set[str | None]()
        self.remedies = dict[str, None]()  # of the rows that are wrong, in their order
        self.faults = dict[str, VircError]()  # by their messages
        self._left = Left()

    def add(self, done: RowDone) -> None:
        self.done += 1
        error = done.error
        if isinstance(error, NoAnswerError):
            self.unanswered += 1
        elif error:
            self.failed += 1
            # a picture that could not be fetched may be there on the next run
            fault = error.__cause__ if isinstance(error.__cause__, NetworkError) else error
            if fault.remedy:
                self.wrong += 1
                self.remedies[fault.remedy] = None
            row = "" if done.row.id is None else f"row {done.row.id!r}: "  # else the message names its line
            if len(self.faults) < 2:  # more would not say more
                self.faults[error.message] = error
            self._report.warn(f"{row}{error.message}", None if error.hint in self._hints else error.hint)
            self._hints.add(error.hint)  # once is enough
        warnings = [*done.fields.get("warnings", ()), *([done.untraced.message] if done.untraced else [])]
        for sentence in warnings:
            self._report.warn(f"row {done.row.id!r}: {sentence}")
        for each in done.fields.get("left", ()):
            self._left.add(each["edge"], [each["name"]] * each["count"], f"row {done.row.id!r}")
        if "answer" in done.fields:
            self._report.log(f"row {done.row.id!r}: {done.fields['answer']}")
        self.tokens += sum(count or 0 for count in (done.fields.get("tokens") or {}).values())
        self.budget.add(done.fields)
        self._report.progress(f"{self._pace()}; {self}")

    def estimate(self, of: str, costs: Mapping[str, int]) -> None:
        if self._total and (left := self._total - self.resumed) > 1:
            # at most, as others may be in work meanwhile
            seconds = duration((time.monotonic() - self._began) * left)
            amounts = ", ".join(f"{number * left:,} {name}" for name, number in costs.items() if number)
            self._report.note(f"by the first {of} about {amounts or 'no requests'}, and at most {seconds}")

    def _pace(self) -> str:
        done = self.resumed + self.done
        rate = self.done / max(time.monotonic() - self._began, 1e-3)
        parts = [f"{done} of {self._total}" if self._total else f"{done}"]
        parts.append(f"{rate:.2g} rows/s" if rate < 10 else f"{rate:.0f} rows/s")
        if self._total and self._total > done:
            parts.append(f"about {duration((self._total - done) / rate)} left")
        parts += [f"{self.tokens:,} tokens"] if self.tokens else []
        parts += [f"cost {amount(self.budget.cost)}"] if self.budget.cost is not None else []
        return ", ".join(parts)

    def tell(self) -> None:
        """Say what was not used of all replies, and how the rows went."""
        for sentence in (*self._left.sentences(), str(self)):
            self._report.note(sentence)

    def check(self, kept: bool = True) -> None:
        rows = f"{self.resumed + self.done} rows are done"
        if limited := self.budget.error(f"{rows} of {self._total}" if self._total else rows):
            raise limited
        if self.failed:
            raise failed_rows([self], kept)


def failed_rows(progress: Sequence[Progress], kept: bool = True) -> VircError:
    """The error of a file with failed rows, some of which may fail again until they are corrected.

    Where all failed alike and not for the network, they would again: what is wrong with all of them is named.
    """
    failed, wrong = sum(each.failed for each in progress), sum(each.wrong for each in progress)
    remedies = ", ".join(dict.fromkeys(remedy for each in progress for remedy in each.remedies))
    rows = "1 row" if failed == 1 else f"{failed} rows"
    faults = {message: error for each in progress for message, error in each.faults.items()}
    (fault, *others) = faults.values()
    if not others and 1 < failed == sum(each.done for each in progress) and isinstance(fault, ConfigError | SetupError):
        return VircError(f"all {rows} failed: {fault.message}", fault.hint)
    if not kept:
        hint = "«--to FILE» keeps the others, so that a rerun does the failed rows alone"
    elif wrong == failed:
        hint = f"{remedies}; the same command then does only them"
    elif wrong:
        hint = f"{remedies} ({wrong} of {failed}); the same command does the failed rows again, and only them"
    else:
        hint = "the same command does them again, and only them"
    return VircError(f"{rows} failed", hint)


class Answers(Progress):
    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        answered = self.done - self.unanswered - self.failed
        counts = f"{answered} answered, {self.unanswered} without an answer, {self.failed} failed"
        text, cost = f"{counted(self.done, 'row')}: {counts}{before}", self.budget.cost
        if cost is None:
            return text
        return f"{text}; cost {amount(cost)}" + (f", {amount(cost / answered)} an answer" if answered else "")
