"""A run's checkpoints, whatever engine saved them: which of them are whole, and which can be resumed from."""

from pathlib import Path
from types import ModuleType

import msgspec

from virc.core.errors import ConfigError
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages


class Checkpoint(msgspec.Struct, frozen=True):
    """Weights that an engine saved.

    Args:
        resumable: the optimizer's state is there too.
        merged: its folder is a model; else it holds the shards of one, which `virc merge` makes a model of.
    """

    folder: Path
    step: int
    resumable: bool
    merged: bool = True


def engine_of(run: Run) -> ModuleType:
    """The module that knows the checkpoints of the run's engine, `engines/ENGINE_checkpoints.py`.

    Raises:
        ConfigError: the run cannot be read.
    """
    return stages.engine(runs.info(run).kind, "checkpoints")


def checkpoints(run: Run) -> list[Checkpoint]:
    """The run's whole checkpoints, the newest last; what a kill left half-written is none."""
    engine = engine_of(run)
    return [
        Checkpoint(folder, step, engine.resumable(folder), engine.MERGED)
        for step, folder in sorted(folders(run).items())
        if engine.whole(folder)
    ]


def folders(run: Run) -> dict[int, Path]:
    """Step -> folder of each checkpoint, also of one that is being saved or was left half-written."""
    prefix: str = engine_of(run).PREFIX
    named = {path.name.removeprefix(prefix): path for path in run.checkpoints.glob(f"{prefix}*")}
    return {int(step): path for step, path in named.items() if step.isdecimal()}


def step_of(run: Run, folder: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    return int(folder.name.removeprefix(engine_of(run).PREFIX))


def checkpoint(run: Run, step: str) -> Checkpoint:
    """The run's whole checkpoint of that step.

    Raises:
        ConfigError: there is none.
    """
    found = checkpoints(run)
    for each in found:
        if str(each.step) == step:
            return each
    steps = ", ".join(str(each.step) for each in found)
    raise ConfigError(
        f"{run.name} has no checkpoint of step {step[:20]!r}", f"there are {steps}" if found else None
    )
