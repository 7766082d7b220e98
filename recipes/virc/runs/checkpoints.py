"""A run's checkpoints, whatever engine saved them: which of them are whole, and which can be resumed from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from virc.core.errors import ConfigError
from virc.core.text import plain
from virc.runs import run as runs
from virc.runs.checkpoint_formats import llamafactory, verl
from virc.runs.run import Run


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


class Format(Protocol):
    """A module of `checkpoint_formats`.

    Attributes:
        PREFIX: of the names of its folders; the step follows.
        MERGED: whether a folder is a model as it is.
        KEEPS_ALL: whether the engine leaves the removal of older checkpoints to virc.
        SAVES_WHEN_ASKED: whether the engine saves on a signal before it ends.
    """

    PREFIX: str
    MERGED: bool
    KEEPS_ALL: bool
    SAVES_WHEN_ASKED: bool

    def whole(self, folder: Path) -> bool:
        """Whether the engine finished saving a checkpoint."""

    def resumable(self, folder: Path) -> bool:
        """Whether a whole checkpoint holds the optimizer's state too."""

    def resume_state(self, folder: Path) -> list[Path]:
        """Files and folders of a checkpoint that only resuming needs."""

    def complete(self, folder: Path, base: Path) -> None:
        """Copy from the base what a killed engine left out of a checkpoint."""

    def spare(self, run: Path, last: int | None) -> list[Path]:
        """Second copies of weights that an ended attempt left; `last` is the step of the newest whole checkpoint."""


FORMATS: Mapping[str, Format] = {"sft": llamafactory, "rl": verl}
"""Kind of a stage -> the format of its engine's checkpoints."""


def format_of(run: Run) -> Format:
    """The format of a run's checkpoints.

    Raises:
        ConfigError: the run cannot be read, or was made by another version of virc.
    """
    kind = runs.info(run).kind
    if kind not in FORMATS:
        raise ConfigError(f"stages of kind {plain(kind, 40)!r} are not of this version of virc")
    return FORMATS[kind]


def checkpoints(run: Run) -> list[Checkpoint]:
    """The run's whole checkpoints, the newest last; what a kill left half-written is none."""
    engine = format_of(run)
    return [
        Checkpoint(folder, step, engine.resumable(folder), engine.MERGED)
        for step, folder in sorted(folders(run).items())
        if engine.whole(folder)
    ]


def folders(run: Run) -> dict[int, Path]:
    """Step -> folder of each checkpoint, also of one that is being saved or was left half-written."""
    prefix: str = format_of(run).PREFIX
    named = {path.name.removeprefix(prefix): path for path in run.checkpoints.glob(f"{prefix}*")}
    return {int(step): path for step, path in named.items() if step.isdecimal()}


def step_of(run: Run, folder: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    return int(folder.name.removeprefix(format_of(run).PREFIX))


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
