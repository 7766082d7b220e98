"""Runs the steps of rounds that are not done."""

from virc.core.errors import ConfigError
from virc.core.events import OnEvent, Reporter
from virc.core.locks import held
from virc.runs import run as runs
from virc.training import steps
from virc.training.rounds.plan import Rounds, Step, check_files
from virc.training.rounds.state import StepState, left, state, states
from virc.training.rounds.text import figures_text
from virc.training.steps import Runner


def run(
    found: Rounds, on_event: OnEvent | None = None, runner: Runner | None = None, options: tuple[str, ...] = ()
) -> list[StepState]:
    """Run every step that is not done, in order.

    Args:
        runner: runs a command line.
        options: of every command, behind its own.

    Returns:
        How far every step is: all are done.

    Raises:
        ConfigError: what a step made was made otherwise, or another process works on these rounds.
        DataError, ConfigError: a file of problems or rows, or the model to begin with, is missing.
        StepFailedError, EngineError, KeyboardInterrupt: as `steps.run` does.
    """
    check_files(found, left(found, states(found)))  # refuses before anything is written
    workspace = found.workspace
    folder = workspace / runs.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    busy = ConfigError(f"another process works on the rounds {found.name}", "wait for it, or choose another --name")
    with held(folder / f"{found.name}-rounds", busy):
        steps.run(
            found.steps, workspace, lambda step: rest(step, state(step, workspace)), Reporter(on_event),
            runner=runner, options=options, came_of=lambda step: figures_text(state(step, workspace).figures),
        )  # fmt: skip
    return states(found)


def rest(step: Step, before: StepState) -> tuple[str, ...] | None:
    """The command that continues a step: a run that was begun keeps its settings, a sample takes up its ledger."""
    if before.progress == "done":
        return None
    if step.kind == "train" and before.progress in ("begun", "running"):
        return ("virc", "train", "--resume", "--name", step.makes.rpartition("/")[2])
    return step.words
