"""Trajectories by rejection sampling: rows in, a dataset out, progress on stderr."""

from collections.abc import Mapping

import msgspec

from virc.core.errors import DataError, NoAnswerError, UsageError
from virc.core.files import expanded
from virc.data.sample.dataset import SCHEMA, Totals, begun, place_of, publish
from virc.data.sample.sample import SampleConfig, sample, sampling_facts
from virc.families.registry import taught
from virc.models.registry import REAL_MODELS
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with
from virc.solving.rows import read_rows
from virc_cli.console import output
from virc_cli.solving.many import Progress, open_rows
from virc_cli.solving.setup import Setup, open_chosen


class Tally(Progress):
    """How many problems were rolled out in this run."""

    def __init__(self, resumed: int) -> None:
        super().__init__(resumed)
        self.problems, self.rollouts, self.right, self.kept = 0, 0, 0, 0

    def add(self, done: RowDone) -> None:
        """Count one problem."""
        if not done.error:
            self.problems += 1
            self.rollouts += done.fields["rollouts"]
            self.right += done.fields["right"]
            self.kept += len(done.fields["kept"])
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        counts = (
            f"{self.right} of {self.rollouts} rollouts right, {self.kept} kept, {self.failed} rows failed"
        )
        return f"{self.problems} problems: {counts}{before}"


def run(
    setup: Setup,
    source: str,
    to: str,
    keep: int,
    at_once: int | None,
    as_json: bool,
    blank: Mapping[str, object],
) -> None:
    """Sample every row of a file.

    Args:
        source: JSONL file, or `-` for standard input.
        to: `NAME.jsonl` or a folder.
        keep: most trajectories of one problem.
        at_once: rows in work at a time; None: as many as suit the model.
        blank: the fields of `--json` before anything is known.

    Raises:
        VircError: a row failed, nothing was right, or all of it cannot be done.
    """
    if setup.config.first_temperature() == 0 and setup.config.samples > 1:
        raise UsageError(
            "at temperature 0 all rollouts of a problem are the same", "--temperature 1, or --samples 1"
        )
    place = place_of(expanded(to))
    file, base = open_rows(source)
    config = SampleConfig(BatchConfig(setup.config, base, None, setup.offline, at_once), keep, place)
    with file as rows:
        opened, known = open_chosen(setup)
        known = sampling_facts(known, keep)
        output.know(**known, to=str(place.file))
        with begun(place, taught(opened.chat_protocol.protocol), made_with(known)) as ledger:
            tally = Tally(ledger.resumed)

            def on_row(done: RowDone) -> None:
                error = output.error_fields(done.error) if done.error else None
                ledger.append(as_line(done, known, error, SCHEMA))
                tally.add(done)

            finished = False
            try:
                sample(config, opened, read_rows(rows), ledger, on_row, output.note)
                finished = True
            finally:
                totals = publish(place, finished)
                fields = _fields(totals)
                output.know(**fields)
                output.note(_summary(totals, ledger.resumed))
        opened.backend.close()
    tally.check()
    if not totals.kept:
        raise _nothing(source, totals, opened.embedded)
    if as_json:
        all_fields = {**blank, **known, **fields, "to": str(place.file)}
        output.emit({"schema": "virc.data.sample/1", **all_fields, "error": None})
    else:
        output.line(str(place.file))


def _fields(totals: Totals) -> dict[str, object]:
    return {**msgspec.structs.asdict(totals), "pass_rate": totals.pass_rate}


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
