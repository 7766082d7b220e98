"""The health of a run while it trains: what is amiss is said once when it begins and once when it ends."""

from collections.abc import Iterable, Sequence

from virc.runs.metrics import Metric
from virc.runs.run import Info, Run
from virc.training import health
from virc.training.health import Note
from virc_cli.console import output


class Watch:
    """Watches the metrics of an attempt.

    Args:
        known: the run's metrics so far.

    Attributes:
        reason: why the run is to end, once a sign began that its setting `stop_on` names.
    """

    def __init__(self, run: Run, info: Info, known: Sequence[Metric]) -> None:
        self._run, self._stop_on = run, info.settings.get("stop_on") or ()
        self._metrics = list(known)
        self._amiss = health.amiss(run)
        self.reason: str | None = None

    def take(self, new: Iterable[Metric]) -> None:
        """Take in further steps."""
        for metric in new:
            self._metrics.append(metric)
            if metric.response_length is not None:
                self._look(metric.step)

    def _look(self, step: int) -> None:
        found = health.signs(self._metrics)
        begun = {sign: says for sign, says in found.items() if sign not in self._amiss}
        over = [sign for sign in self._amiss if sign not in found]
        notes = [Note(step, sign, True, says) for sign, says in begun.items()]
        notes += [Note(step, sign, False, "") for sign in over]
        if notes:
            health.write(self._run, notes)
        for sign, says in begun.items():
            output.warn(
                f"{sign}: {says}", None if sign in self._stop_on else f"--stop-on {sign} would end such a run"
            )
            if sign in self._stop_on:
                self.reason = self.reason or says
        for sign in over:
            output.note(f"{sign}: no longer amiss at step {step}")
        self._amiss = found
