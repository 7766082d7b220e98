"""Runs the steps of rounds that are not done; the state of each is read from the rows, the run or the model it made.

There is no other record of the rounds, so that users may as well type the command of a step.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import ConfigError
from virc.core.events import OnEvent, Reporter
from virc.core.files import is_file
from virc.core.json_stream import line_rows
from virc.core.locks import held
from virc.core.text import counted
from virc.data.sample import dataset
from virc.runs import run as runs
from virc.runs.run import Run
from virc.solving.rows import MAX_LINE_BYTES
from virc_extras.rounds import steps
from virc_extras.rounds.plan import RoundCommand, Rounds, missing
from virc_extras.rounds.steps import Runner

Progress = Literal["done", "running", "begun", "to do"]
Figures = Mapping[str, float | int | None]


class StepState(msgspec.Struct, frozen=True):
    """How far a step is.

    Args:
        progress: `begun`: its command continues where it stopped.
        figures: of rows `problems`, `rollouts`, `right`, `pass_rate` and `kept`; of a run `step`, `total`, `loss` and
            `reward`; what is not known is left out.
    """

    progress: Progress
    figures: Figures = {}


def run(
    found: Rounds, on_event: OnEvent | None = None, runner: Runner | None = None, options: tuple[str, ...] = ()
) -> list[StepState]:
    """Run every step that is not done, in order.

    Raises:
        ConfigError: what a step made was made otherwise, or another process works on these rounds.
        StepFailedError, EngineError, KeyboardInterrupt: as `steps.run` does.
    """
    for error in missing(found, left(found, states(found))):
        raise error  # before anything is written, and hours are spent on other steps
    workspace = found.workspace
    folder = workspace / runs.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    busy = ConfigError(f"another process works on the rounds {found.name}", "wait for it, or choose another «--name»")
    with held(folder / f"{found.name}-rounds", busy):
        steps.run(
            found.steps, workspace, lambda step: rest(step, state(step, workspace)), Reporter(on_event),
            runner=runner, options=options, came_of=lambda step: figures_text(state(step, workspace).figures),
        )  # fmt: skip
    return states(found)


def rest(step: RoundCommand, before: StepState) -> tuple[str, ...] | None:
    """The command that continues a step: a run that was begun keeps its settings, a sample takes up its ledger."""
    if before.progress == "done":
        return None
    if step.kind == "train" and before.progress in ("begun", "running"):
        return ("virc", "train", "--resume", "--name", step.makes.rpartition("/")[2])
    return step.words


def states(found: Rounds) -> list[StepState]:
    return [state(step, found.workspace) for step in found.steps]


def left(found: Rounds, now: Sequence[StepState]) -> list[RoundCommand]:
    return [step for step, each in zip(found.steps, now, strict=True) if each.progress != "done"]


def overall(now: Sequence[StepState]) -> Progress:
    known = {each.progress for each in now}
    if "running" in known:
        return "running"
    return known.pop() if len(known) == 1 else "begun"


def state(step: RoundCommand, workspace: Path) -> StepState:
    if step.kind == "sample":
        return _of_rows(step, workspace)
    if step.kind == "train":
        return _of_run(step, workspace)
    return StepState("done" if is_file(workspace / step.makes / "config.json") else "to do")


def _of_rows(step: RoundCommand, workspace: Path) -> StepState:
    location = dataset.location_of(workspace / step.makes, step.paired)
    before = dataset.settings_of(location)
    if not before:
        return StepState("to do")
    model = str(before["model"])  # rows that another command made would be taken for those of this one
    if step.start not in (model, model.partition("@")[0]):
        raise _made_otherwise(str(location.progress), "model", model, step.start)
    for name, value in step.sample_settings.items():
        if before.get(name) != value:
            raise _made_otherwise(str(location.progress), name, before.get(name), value)
    totals = dataset.so_far(location)
    figures = {name: getattr(totals, name) for name in ("problems", "rollouts", "right", "pass_rate", "kept")}
    source = workspace / (step.source or "")
    # A killed command may leave the rows of the one before it. A file of problems that is gone cannot have new ones.
    whole = is_file(location.file) and _count(location.file) == totals.kept and not totals.failed
    done = whole and (not is_file(source) or totals.problems >= _count(source))
    return StepState("done" if done else "begun", figures)


def _count(rows: Path) -> int:
    with rows.open("rb") as file:
        return sum(1 for _ in line_rows(file, most=MAX_LINE_BYTES))


def _of_run(step: RoundCommand, workspace: Path) -> StepState:
    run = Run(workspace / step.makes)
    if not is_file(run.folder / "run.json"):
        return StepState("to do")
    info, found = runs.info(run), runs.state(run)
    _refuse_other_run(step, info)
    figures = {name: getattr(found, name) for name in ("step", "total", "loss", "reward")}
    known = {name: value for name, value in figures.items() if value is not None}
    progress: Progress = "done" if found.progress == "finished" else "begun"
    return StepState("running" if found.progress == "running" else progress, known)


def _refuse_other_run(step: RoundCommand, info: runs.Info) -> None:
    assert step.resolved
    now = msgspec.json.decode(msgspec.json.encode(step.resolved.config))
    before = msgspec.json.decode(msgspec.json.encode(info.settings))
    now, before = {"stage": step.name, **now}, {"stage": info.stage, **before}
    for name in now.keys() & before.keys() - {"data", "validation"}:
        if now[name] != before[name]:
            raise _made_otherwise(f"the run {info.name}", name, before[name], now[name])


def _made_otherwise(what: str, name: str, before: object, now: object) -> ConfigError:
    return ConfigError(
        f"{what} was made with {name} {before}, not {now}",
        "the same system and options as before go on with it; «--name NAME» begins other rounds",
    )


def figures_text(figures: Figures) -> str:
    found = []
    kept, rate = figures.get("kept"), figures.get("pass_rate")
    if kept is not None:
        found.append(f"{counted(int(kept), 'row')} kept")
    if rate is not None:
        rollouts = counted(int(figures["rollouts"] or 0), "rollout")
        found.append(f"{figures['right']} of {rollouts} right ({rate:.1%})")
    step, total = figures.get("step"), figures.get("total")
    if step is not None and total is not None:
        found.append(f"step {step} of {total}")
    for name in ("loss", "reward"):
        value = figures.get(name)
        if value is not None:
            found.append(f"{name} {value:.3g}")
    return ", ".join(found)
