"""Taking run folders away, each at once or not at all."""

import os
import shutil
from pathlib import Path

from virc_recipes import attempts, runs
from virc_recipes.errors import ConfigError
from virc_recipes.runs import FOLDER, Run

_REMOVED = ".removed"  # ending of the hidden name a folder has while it is deleted


def started_from(run: Run, workspace: Path) -> list[Run]:
    """The other runs whose weights began as this run's."""
    folder = os.path.realpath(run.folder)
    others = [other for other in runs.discover(workspace) if other.name != run.name]
    return [other for other in others if any(_lies_in(base, folder) for base in _bases(other))]


def _lies_in(base: str, folder: str) -> bool:
    try:
        return Path(os.path.realpath(base)).is_relative_to(folder)
    except ValueError:  # no file can have that name
        return False


def _bases(run: Run) -> list[str]:
    try:
        info = runs.info(run)
    except ConfigError:
        return []
    return [info.base, info.adapter] if info.adapter else [info.base]


def remove(run: Run) -> None:
    """Delete a run; of one that is a link, the link alone.

    Raises:
        ConfigError: somebody else works on it.
        OSError: the disk refuses.
    """
    hidden = run.folder.with_name(f".{run.name}{_REMOVED}")
    with attempts.alone(run):
        _delete(hidden)
        run.folder.rename(hidden)
        _delete(hidden)


def sweep(workspace: Path) -> None:
    """Delete what a removal that was killed left."""
    for hidden in (workspace / FOLDER).glob(f".*{_REMOVED}"):
        _delete(hidden)


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
