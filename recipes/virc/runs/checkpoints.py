"""A run's checkpoints, whatever engine saved them: which are whole, which can be resumed, which are kept."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Protocol

import msgspec

from virc.core.errors import ConfigError
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.checkpoint_formats import llamafactory, verl
from virc.runs.run import Run
from virc.systems.kinds import Engine, runs_in

_RESUMABLE = 2  # newest checkpoints whose resume state is kept


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

    def whole(self, folder: Path) -> bool: ...

    def resumable(self, folder: Path) -> bool: ...

    def resume_state(self, folder: Path) -> list[Path]:
        """Files and folders of a checkpoint that only resuming needs."""

    def complete(self, folder: Path, base: Path) -> None:
        """Copy from the base what a killed engine left out of a checkpoint."""

    def spare(self, run: Path, last: int | None) -> list[Path]:
        """Second copies of weights that an ended attempt left; `last` is the step of the newest whole checkpoint."""


FORMATS: Mapping[Engine, Format] = {"llamafactory": llamafactory, "verl": verl}
"""Engine -> the format of its checkpoints."""


def format_of(run: Run) -> Format:
    """Raises ConfigError: the run cannot be read, or was made by another version of virc."""
    return FORMATS[runs_in(runs.info(run).kind).engine]


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
    return int(folder.name.removeprefix(format_of(run).PREFIX))


def checkpoint(run: Run, step: str) -> Checkpoint:
    found = checkpoints(run)
    for each in found:
        if str(each.step) == step:
            return each
    steps = ", ".join(str(each.step) for each in found)
    raise ConfigError(f"{run.name} has no checkpoint of step {step[:20]!r}", f"there are {steps}" if found else None)


class Keeper:
    """Completes new checkpoints and removes old ones while an engine trains; cheap when there is nothing new."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._done: tuple[list[Path], dict[int, float]] | None = None

    def update(self, validated: Mapping[int, float]) -> None:
        """Copy the chat protocol to new checkpoints; remove old ones, and the resume state of all but the newest.

        `validated`: step -> mean reward of the validation rows.
        """
        now = sorted(folders(self._run).values()), dict(validated)
        if self._done == now:  # whether one is whole costs reading it
            return
        found = checkpoints(self._run)
        # Of the checkpoints of a step with a validation the one with the highest reward, the earlier of two.
        judged = [each for each in found if each.step in validated]
        best = max(judged, key=lambda each: (validated[each.step], -each.step), default=None)
        if best:
            runs.write_state(self._run, best=best.step, best_validation=validated[best.step])
        for each in found:
            if not (each.folder / FILE_NAME).exists():
                shutil.copyfile(self._run.folder / FILE_NAME, each.folder / FILE_NAME)
        engine = format_of(self._run)
        for each in found[:-_RESUMABLE]:
            remove(engine.resume_state(each.folder))
        keep = runs.info(self._run).settings.get("save_total_limit")
        if keep and engine.KEEPS_ALL:  # else the engine removes old ones itself
            remove(each.folder for each in found[:-keep] if each is not best)
        if len(found) == len(now[0]):
            self._done = sorted(folders(self._run).values()), dict(validated)


def complete(run: Run) -> None:
    """Add, once the engine has ended, what checkpoints may lack: the chat protocol, and what a kill left out."""
    base = Path(runs.info(run).base)
    for each in checkpoints(run):
        shutil.copyfile(run.folder / FILE_NAME, each.folder / FILE_NAME)
        format_of(run).complete(each.folder, base)


def remove_partial(run: Run) -> None:
    remove(folder for folder in folders(run).values() if not format_of(run).whole(folder))


def remove_spare(run: Run, last: Checkpoint | None) -> None:
    """Remove the second copies of weights that an attempt leaves when it ends."""
    remove(format_of(run).spare(run.folder, last.step if last else None))


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders; of a link, the link alone."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def written(folders: Iterable[Path]) -> str:
    """What changes as soon as a file in folders is made, grows or goes; clocks of other machines do not matter."""
    total, newest, count = 0, 0, 0
    for path, _, files in chain.from_iterable(map(os.walk, folders)):
        for each in (Path(path), *(Path(path, name) for name in files)):
            with suppress(OSError):
                found = each.stat()
                total, newest, count = total + found.st_size, max(newest, found.st_mtime_ns), count + 1
    return f"{total} {newest} {count}"
