"""Trajectories by rejection sampling: the rows of a file in, a dataset out."""

import msgspec

from virc.core.errors import DataError, NoAnswerError, UsageError
from virc.core.events import Reporter
from virc.core.files import expanded
from virc.data.sample.dataset import SCHEMA, Totals, begun, location_of, publish
from virc.data.sample.sample import SampleConfig, sample, sampling_facts
from virc.families.registry import taught
from virc.models.registry import REAL_MODELS
from virc.solving.api import open_rows
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with
from virc.solving.outcome import Fields
from virc.solving.progress import Progress
from virc.solving.rows import read_rows
from virc.solving.setup import OnFacts, Setup, open_setup


class _Rollouts(Progress):
    """How many problems were rolled out in this run."""

    def __init__(self, resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report)
        self.problems, self.rollouts, self.right, self.kept = 0, 0, 0, 0

    def add(self, done: RowDone) -> None:
        if not done.error:
            self.problems += 1
            self.rollouts += done.fields["rollouts"]
            self.right += done.fields["right"]
            self.kept += len(done.fields["kept"])
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        counts = f"{self.right} of {self.rollouts} rollouts right, {self.kept} kept"
        return f"{self.problems} problems: {counts}, {self.failed} rows failed{before}"


def sample_file(
    setup: Setup,
    source: str,
    to: str,
    keep: int,
    at_once: int | None,
    report: Reporter,
    on_facts: OnFacts = lambda _: None,
) -> Fields:
    """Sample every row of a file.

    Args:
        source: JSONL file, or `-` for standard input.
        to: `NAME.jsonl` or a folder.
        keep: most trajectories of one problem.
        at_once: rows in work at a time; None: as many as suit the model.

    Returns:
        The fields of `virc.data.sample/1`.

    Raises:
        VircError: a row failed, no rollout was right, or all of it cannot be done.
    """
    if setup.config.first_temperature() == 0 and setup.config.samples > 1:
        raise UsageError("at temperature 0 all rollouts of a problem are the same", "--temperature 1, or --samples 1")
    location = location_of(expanded(to))
    file, base = open_rows(source)
    config = SampleConfig(BatchConfig(setup.config, base, None, setup.offline, at_once), keep, location)
    with file as rows:
        opened, facts = open_setup(setup, report, on_facts)
        known = sampling_facts(facts, keep)
        on_facts({**known, "to": str(location.file)})
        with begun(location, taught(opened.chat_protocol.protocol), made_with(known)) as ledger:
            progress = _Rollouts(ledger.resumed, report)

            def on_row(done: RowDone) -> None:
                ledger.append(as_line(done, known, SCHEMA))
                progress.add(done)

            finished = False
            try:
                sample(config, opened, read_rows(rows), ledger, on_row, report.note)
                finished = True
            finally:
                totals = publish(location, finished)
                fields = {**msgspec.structs.asdict(totals), "pass_rate": totals.pass_rate}
                on_facts(fields)
                report.note(_summary(totals, ledger.resumed))
        opened.backend.close()
    progress.check()
    if not totals.kept:
        raise _nothing(source, totals, opened.embedded)
    return {**known, **fields, "to": str(location.file)}


def _summary(totals: Totals, resumed: int) -> str:
    rate = "" if totals.pass_rate is None else f" ({totals.pass_rate:.1%})"
    before = f"; {resumed} problems were done before" if resumed else ""
    failed = f"; {totals.failed} rows failed" if totals.failed else ""
    return (
        f"{totals.problems} problems: {totals.right} of {totals.rollouts} rollouts right{rate}, "
        f"{totals.kept} trajectories kept, {totals.without} problems without one{failed}{before}"
    )


def _nothing(source: str, totals: Totals, embedded: bool) -> DataError | NoAnswerError:
    if not totals.problems:
        return DataError(f"{source} has no rows")
    hint = REAL_MODELS if embedded else "a stronger model, or a larger --samples"
    return NoAnswerError(f"none of {totals.rollouts} rollouts is right: there is nothing to train on", hint)
