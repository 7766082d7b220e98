"""Taking folders away, each at once or not at all."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from virc.core.errors import ConfigError
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.run import Run

_REMOVED = ".removed"  # ending of the hidden name a folder has while it is deleted


def started_from(run: Run, workspace: Path) -> list[Run]:
    return [other for other in begun_in(run.folder, workspace) if other.name != run.name]


def begun_in(folder: Path, workspace: Path) -> list[Run]:
    place = os.path.realpath(folder)
    found = []
    for run in runs.discover(workspace):
        with suppress(ConfigError):
            info = runs.info(run)
            sources = (info.base, info.adapter, info.data, info.validation)
            if any(path and _is_in(path, place) for path in sources):
                found.append(run)
    return found


def _is_in(path: str, folder: str) -> bool:
    try:
        return Path(os.path.realpath(path)).is_relative_to(folder)
    except ValueError:  # no file can have that name
        return False


def remove(run: Run) -> None:
    """Delete a run; of one that is a link, the link alone. Raises ConfigError if another process works on it."""
    with attempts.alone(run):
        take_away(run.folder)


def take_away(folder: Path) -> None:
    """Delete a folder, which is gone under its name at once; of a link, the link alone."""
    hidden = folder.with_name(f".{folder.name}{_REMOVED}")
    _delete(hidden)
    folder.rename(hidden)
    _delete(hidden)


def sweep(place: Path) -> None:
    for hidden in place.glob(f".*{_REMOVED}"):
        _delete(hidden)


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
