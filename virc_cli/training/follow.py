"""What is done while an engine trains: metrics, checkpoints, the line that shows how far it is."""

import errno
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from virc.core.errors import EngineError
from virc.core.files import write_whole
from virc.core.text import clause
from virc.engines import registry as engines
from virc.runs import run as runs
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Info, Run
from virc.training import health, rollout_pages
from virc_cli.console import output
from virc_cli.console.progress import room
from virc_cli.console.run_lines import step_line
from virc_cli.training.tending import Tender, complete, forget_halves, forget_spare
from virc_cli.training.watching import Watch

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40  # losses, or rewards, in the small picture, where the terminal is wide enough


class Follower:
    """Follows one attempt. `look` is called about every second and costs next to nothing when nothing is new.

    Args:
        show: prints the line that shows how far it is.

    Attributes:
        step, total: optimizer steps done, and those there are, as far as the engine has said.
        watch: over the run's health.
    """

    def __init__(self, run: Run, info: Info, attempt: int, step: int, show: Callable[[str], None]) -> None:
        self.step, self.total = step, runs.state(run).total
        self._first = step
        self._run, self._info, self._attempt, self._show = run, info, attempt, show
        self._log = engines.of_kind(info.kind).log
        self._source = run.folder / self._log.METRICS
        self._offset = 0
        self._rest = b""
        known = list(metrics(run))
        self._course: list[float] = [each.main for each in known if each.main is not None]
        self._read = self._log.reader(info, attempt, known)
        self._newest: dict[str, float] = {}
        self._new: list[Metric] = []
        self._tried = {each.step: each.validation for each in known if each.validation is not None}
        self._tender = Tender(run)
        self.watch = Watch(run, info, known)
        self._began = self._alive = time.monotonic()
        self._before = runs.state(run).seconds
        self._checked = self._failing = False

    def look(self) -> None:
        """Take in what is new; what cannot be written down, on a full disk say, is tried again at the next look.

        Raises:
            EngineError: it trains on other rows than were checked.
        """
        try:
            self._look()
        except OSError as error:  # the engine goes on: hours of its work are worth more than a line of ours
            if not self._failing:
                output.warn(f"how far {self._run.name} is cannot be written down for now: {clause(error)}")
            self._failing = True
        else:
            self._failing = False

    def _look(self) -> None:
        self._new += self._new_metrics()
        now = time.monotonic()
        if self._new:
            self._take()
        elif now - self._alive < runs.SIGN_OF_LIFE:
            self._show_start(now)
            return
        runs.write_state(self._run, step=self.step, total=self.total, seconds=self.seconds, **self._newest)
        self._alive = now
        self.tend()

    def _show_start(self, now: float) -> None:
        if not self._course:
            self._show(f"{self._log.STARTING}, {now - self._began:.0f} s")

    def tend(self) -> None:
        """Look after checkpoints, and make pages of rollouts that the engine has left."""
        self._tender.tend(self._tried)
        for fault in rollout_pages.render(self._run.rollouts, self._run.name):
            output.warn(f"a rollout is no page: {fault}")

    @property
    def seconds(self) -> float:
        """Since the run's first attempt began, without the time between attempts."""
        return self._before + time.monotonic() - self._began

    def _new_metrics(self) -> list[Metric]:
        try:
            if self._source.stat().st_size <= self._offset:
                return []
            with self._source.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [each for each in map(self._read, lines) if each is not None]

    def _take(self) -> None:
        new = self._new
        if not self._checked:
            self._check_start(new[0])
        _append(self._run.metrics, _lines(new))
        self._new = []
        self.step, self.total = new[-1].step, new[-1].total
        self._course += [each.main for each in new if each.main is not None]
        for each in new:
            said = {"loss": each.loss, "reward": each.reward}
            self._newest |= {name: value for name, value in said.items() if value is not None}
        self._tried |= {each.step: each.validation for each in new if each.validation is not None}
        if any(map(diverged, new)):
            what = "reward or gradient" if new[-1].response_length is not None else "loss"
            output.warn(f"the {what} at step {self.step} is not a number", "lower learning_rate")
        self._show(self._line(new[-1]))
        self.watch.take(new)

    def _check_start(self, first: Metric) -> None:
        log = self._run.log(self._attempt)
        self._log.started(log, self._info, self._first)
        if first.step <= self._first and not first.aside:
            raise EngineError(f"the engine did not go on from step {self._first}", f"see {log}")
        self._checked = True

    def _line(self, metric: Metric) -> str:
        left = None
        if metric.total and metric.seconds and metric.step > self._first:
            left = metric.seconds / (metric.step - self._first) * (metric.total - metric.step)
        line = step_line(metric, left)
        return f"{line}  {_picture(self._course, min(_WIDTH, room() - len(line) - 2))}"


def _lines(found: Iterable[Metric]) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in found)


def _append(path: Path, data: bytes) -> None:
    """Add to a file all or nothing."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def drop_after(run: Run, step: int) -> None:
    """Take the metrics after a step out: the attempt that goes on from there writes them anew; from 0, all of them."""
    write_whole(run.metrics, _lines(each for each in metrics(run) if step and each.step <= step))
    health.drop_after(run, step)


def take_over(run: Run) -> None:
    """Clear up after an attempt that was killed: metrics that nobody took in, what there is of a checkpoint."""
    info = runs.info(run)
    log = engines.of_kind(info.kind).log
    source = run.folder / log.METRICS
    if source.is_file():
        known = list(metrics(run))
        last = max((each.step for each in known), default=-1)  # a validation may come before the first step
        found = map(log.reader(info, runs.state(run).attempt, known), source.read_bytes().splitlines())
        known += [each for each in found if each is not None and each.step > last]
        write_whole(run.metrics, _lines(known))  # not added: the last line may be cut short
        source.unlink()
    forget_halves(run)
    forget_spare(run, None)
    complete(run)


def _picture(losses: list[float], width: int) -> str:
    """The course of the loss as a row of bars, the newest on the right."""
    if width < 1:
        return ""
    step = max(1, len(losses) // width)
    shown = losses[::-step][::-1][-width:]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    if not high > low:
        return ""
    return "".join(_BARS[int((each - low) / (high - low) * (len(_BARS) - 1))] for each in shown)
