"""Runs the steps of rounds that are not done, each as the command that it is, in a process of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

from virc.core import processes
from virc.core.errors import ConfigError, EngineError
from virc.core.events import Event, OnEvent, Reporter
from virc.core.locks import held
from virc.core.plan import Step as Process
from virc.runs import run as runs
from virc.runs.run import Run
from virc.training.rounds.plan import Rounds, Step, check_files
from virc.training.rounds.state import StepState, left, state, states
from virc.training.rounds.text import figures_text

CONTINUE = "the same command goes on from there"
Runner = Callable[[tuple[str, ...], Path], int]
"""Runs a command line, whose first word is `virc`, in a folder; returns its exit code."""


class StepEvent(Event, frozen=True, kw_only=True):
    """A step begins or has ended."""

    step: Step
    state: StepState


class StepFailedError(EngineError):
    """A step failed, after it printed why.

    Args:
        code: its exit code.
        step: the one that failed.
    """

    def __init__(self, step: Step, code: int) -> None:
        super().__init__(f"round {step.round}, {step.name}: exit code {code}", CONTINUE)
        self.code = code
        self.step = step


def in_process(words: tuple[str, ...], folder: Path) -> int:
    """Run a command line of `virc` in a process of its own, which saves its work when this one is interrupted."""
    argv = (sys.executable, "-m", "virc_cli", *words[1:])
    return processes.attended(Process(argv, " ".join(words[:3]), saves_on="SIGINT"), folder)


def run(found: Rounds, on_event: OnEvent | None = None, runner: Runner = in_process) -> list[StepState]:
    """Run every step that is not done, in order.

    Args:
        on_event: gets a `StepEvent` when a step begins and when it has ended.
        runner: runs a command line.

    Returns:
        How far every step is: all are done.

    Raises:
        ConfigError: what a step made was made otherwise, or another process works on these rounds.
        DataError, ConfigError: a file of problems or rows, or the model to begin with, is missing.
        StepFailedError: a step failed, and has printed why; what was made is kept.
        KeyboardInterrupt: they were stopped; calling it again goes on.
    """
    report = Reporter(on_event)
    check_files(found, left(found, states(found)))  # refuses before anything is written
    folder = found.workspace / runs.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    busy = ConfigError(f"another process works on the rounds {found.name}", "wait for it, or choose another --name")
    with held(folder / f"{found.name}-rounds", busy):
        for step in found.steps:
            before = state(step, found.workspace)
            if before.progress != "done":
                _run_step(step, before, found, report, runner)
    return states(found)


def _run_step(step: Step, before: StepState, found: Rounds, report: Reporter, runner: Runner) -> None:
    words = words_now(step, before)
    place = f"round {step.round} of {found.count}, {step.name}"
    goes_on = " goes on" if before.progress == "begun" else ""
    report.send(StepEvent("note", f"{place}{goes_on}: {step.says}", step=step, state=before))
    code = runner(words, found.workspace)
    if code:
        raise StepFailedError(step, code)
    after = state(step, found.workspace)
    if after.progress != "done":
        raise EngineError(f"{place}: its command ended, and {step.makes} is not whole", f"look at {step.makes}")
    report.send(StepEvent("note", f"{place}: {figures_text(after.figures) or 'done'}", step=step, state=after))


def words_now(step: Step, before: StepState) -> tuple[str, ...]:
    """The command that goes on with a step: a run that was begun keeps its settings, a sample takes up its ledger."""
    if step.kind == "train" and before.progress in ("begun", "running"):
        return ("virc", "train", "--resume", "--name", Run(Path(step.makes)).name)
    return step.words
