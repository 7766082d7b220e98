"""Follows an engine while it trains: its metrics, its log, its checkpoints, its health.

`Follower.poll` reads new lines of the engine's log (`_take_log`) and of its metrics (`_take_metrics`), and writes the
progress of the run. `take_over` and `drop_after` clean up before another attempt.
"""

import errno
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from virc.core.errors import EngineError
from virc.core.events import Event, Reporter
from virc.core.files import write_whole
from virc.core.text import clause, duration
from virc.engines import registry as engines
from virc.runs import run as runs
from virc.runs.checkpoints import Keeper, complete, remove_partial, remove_spare
from virc.runs.follow import lines
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Info, Run
from virc.runs.status import step_line
from virc.training import inputs, rollout_pages
from virc.training.health import Watch
from virc.training.silence import Silence

TOOL_FAILURE = r"virc: (the tool .*)"
"""A line of the log about a tool that fails in a rollout; a warning is given for the first such line."""


class StepEvent(Event, frozen=True):
    """New metrics of a run: the last line."""

    metric: Metric = Metric(step=0)


class Follower:
    """Follows one attempt. `poll` is called about every second and costs next to nothing when nothing is new.

    Attributes:
        step, total: optimizer steps done and to do, as far as the engine has logged them.
        started: whether this attempt has made a step.
    """

    def __init__(self, run: Run, info: Info, attempt: int, step: int, report: Reporter) -> None:
        state, known = runs.state(run), list(metrics(run))
        self.step, self.total = step, state.total
        self._resumed_from = step
        self._run, self._info, self._attempt, self._report = run, info, attempt, report
        self._log = engines.of_kind(info.kind).log
        self._metric_lines = lines(run.folder / self._log.METRICS)
        self._log_lines = lines(run.log(attempt))
        self._startup = list(self._log.STARTUP)  # phases of the start that are not done
        self._read = self._log.reader(info, attempt, known)
        self._newest: dict[str, float] = {}  # last loss and reward
        self._new: list[Metric] = []  # read, and not written yet
        self._validated = {each.step: each.validation for each in known if each.validation is not None}
        self._keeper = Keeper(run)
        self.watch = Watch(run, info, known, report)
        self.silence = Silence(run, info, run.log(attempt), known)
        self._began = self._state_written = self._phase_began = time.monotonic()
        self._seconds_before = state.seconds
        self._tool_failed = self._checked = self._failing = self.started = False

    def poll(self) -> None:
        """Take in what is new; what cannot be written, on a full disk say, is tried again at the next poll."""
        try:
            self._poll()
        except OSError as error:  # the engine goes on: hours of its work are worth more than a line of ours
            if not self._failing:
                self._report.warn(f"the progress of {self._run.name} cannot be written now: {clause(error)}")
            self._failing = True
        else:
            self._failing = False
        self.silence.look(starting=not self.started and len(self._startup) > 1)

    def _poll(self) -> None:
        while (line := next(self._log_lines)) is not None:
            self._take_log(line.decode("utf-8", "replace").rstrip())
        while (line := next(self._metric_lines)) is not None:
            if (metric := self._read(line)) is not None:
                self._new.append(metric)
        now = time.monotonic()
        if self._new:
            self._take_metrics()
        elif now - self._state_written < runs.SIGN_OF_LIFE:
            if self._startup and not self.started:
                phase, count = self._startup[0], len(self._log.STARTUP)
                place = f"{count - len(self._startup) + 1}/{count} " if count > 1 else ""
                self._report.progress(f"{place}{phase.name}, {now - self._phase_began:.0f} s; usually {phase.usual}")
            return
        spent = self._seconds_before + now - self._began  # seconds of all attempts, without the time between them
        runs.write_state(self._run, step=self.step, total=self.total, seconds=spent, **self._newest)
        self._state_written = now
        self.tend()

    def _take_log(self, line: str) -> None:
        self._report.log(line)
        if not self._tool_failed and (failure := re.search(TOOL_FAILURE, line)):
            self._tool_failed = True
            self._report.warn(failure[1])
        done = max((at for at, phase in enumerate(self._startup, 1) if re.search(phase.ends, line)), default=0)
        if done and not self.started:
            names = " and ".join(phase.name for phase in self._startup[:done])
            self._startup, now = self._startup[done:], time.monotonic()
            self._report.note(f"{names}: done in {duration(now - self._phase_began)}")
            self._phase_began = now

    def tend(self) -> None:
        """Delete checkpoints that are not kept, and make pages of new rollouts."""
        self._keeper.update(self._validated)
        for fault in rollout_pages.render(self._run.rollouts, self._run.name):
            self._report.warn(f"a rollout cannot be shown as a page: {fault}")

    def _take_metrics(self) -> None:
        new, self.started = self._new, True
        if not self._checked:
            log = self._run.log(self._attempt)
            self._log.started(log, self._info, self._resumed_from)
            inputs.check_trained(self._info, self._log.trained(log))
            if new[0].step <= self._resumed_from and not new[0].aside:
                raise EngineError(f"the engine did not resume from step {self._resumed_from}", f"see {log}")
            self._checked = True
        self.silence.take(new)
        _append(self._run.metrics, _encoded(new))
        self._new = []
        last = new[-1]
        self.step, self.total = last.step, last.total
        for each in new:
            measured = {"loss": each.loss, "reward": each.reward}
            self._newest |= {name: value for name, value in measured.items() if value is not None}
        self._validated |= {each.step: each.validation for each in new if each.validation is not None}
        if any(map(diverged, new)):
            what = "reward or gradient" if last.response_length is not None else "loss"
            self._report.warn(f"the {what} at step {self.step} is not a number", "lower learning_rate")
        seconds_left = None
        if last.total and last.seconds and last.step > self._resumed_from:
            seconds_left = last.seconds / (last.step - self._resumed_from) * (last.total - last.step)
        text = step_line(last, seconds_left)
        self._report.send(StepEvent("progress", text, metric=last))
        self.watch.take(new)


def _encoded(new: Iterable[Metric]) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in new)


def _append(path: Path, data: bytes) -> None:
    """Append all of the data or, on a full disk, nothing."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def drop_after(run: Run, step: int) -> None:
    """Drop the metrics after a step: the attempt that resumes there writes them again; from 0, all of them."""
    write_whole(run.metrics, _encoded(each for each in metrics(run) if step and each.step <= step))


def take_over(run: Run) -> None:
    """Clean up after an attempt that was killed: metrics that were not taken in, checkpoints that are half-written."""
    info = runs.info(run)
    log = engines.of_kind(info.kind).log
    source = run.folder / log.METRICS
    if source.is_file():
        known = list(metrics(run))
        last = max((each.step for each in known), default=-1)  # a validation may come before the first step
        logged = map(log.reader(info, runs.state(run).attempt, known), source.read_bytes().splitlines())
        known += [each for each in logged if each is not None and each.step > last]
        write_whole(run.metrics, _encoded(known))  # not appended: the last line may be cut short
        source.unlink()
    remove_partial(run)
    remove_spare(run, None)
    complete(run)
