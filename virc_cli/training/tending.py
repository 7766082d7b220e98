"""What is done with the checkpoints of a run, while an engine trains and once it has ended."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.checkpoints import Checkpoint, checkpoints, folders, format_of
from virc.runs.run import Run

_RESUMABLE = 2  # newest checkpoints whose resume state is kept


class Tender:
    """Tends checkpoints as they appear; costs next to nothing when there is nothing new."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._done: tuple[list[Path], dict[int, float]] | None = None

    def tend(self, tried: Mapping[int, float]) -> None:
        """Put the chat protocol beside new checkpoints; forget old ones, and the resume state of all but the newest.

        Args:
            tried: step -> mean reward of the validation rows.
        """
        there = sorted(folders(self._run).values()), dict(tried)
        if self._done == there:  # whether one is whole costs reading it
            return
        found = checkpoints(self._run)
        best = _best(found, tried)
        if best:
            runs.write_state(self._run, best=best.step, best_validation=tried[best.step])
        for checkpoint in found:
            if not (checkpoint.folder / FILE_NAME).exists():
                shutil.copyfile(self._run.folder / FILE_NAME, checkpoint.folder / FILE_NAME)
        engine = format_of(self._run)
        for checkpoint in found[:-_RESUMABLE]:
            remove(engine.resume_state(checkpoint.folder))
        remove(each.folder for each in self._old(found) if each is not best)
        if len(found) == len(there[0]):
            self._done = sorted(folders(self._run).values()), dict(tried)

    def _old(self, found: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
        """Those beyond the setting `save_total_limit`, where the engine leaves that to us."""
        keep = runs.info(self._run).settings.get("save_total_limit")
        return found[:-keep] if keep and format_of(self._run).KEEPS_ALL else ()


def _best(found: Sequence[Checkpoint], tried: Mapping[int, float]) -> Checkpoint | None:
    """Of the checkpoints of a step with a validation the one with the highest reward, the earlier of two."""
    judged = [each for each in found if each.step in tried]
    return max(judged, key=lambda each: (tried[each.step], -each.step), default=None)


def complete(run: Run) -> None:
    """Put beside weights, once the engine has ended, what it may lack: the chat protocol, and what a kill left out."""
    base = Path(runs.info(run).base)
    for checkpoint in checkpoints(run):
        shutil.copyfile(run.folder / FILE_NAME, checkpoint.folder / FILE_NAME)
        format_of(run).complete(checkpoint.folder, base)


def forget_halves(run: Run) -> None:
    """Remove what a kill left of checkpoints."""
    remove(folder for folder in folders(run).values() if not format_of(run).whole(folder))


def forget_spare(run: Run, last: Checkpoint | None) -> None:
    """Remove the second copies of weights that an attempt which has ended leaves."""
    remove(format_of(run).spare(run.folder, last.step if last else None))


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, whatever is in them; of links, the link alone."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
