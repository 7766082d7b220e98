"""What was unpacked elsewhere moves into place: by renaming, so that it costs nothing and can be taken up again."""

import filecmp
import os
from pathlib import Path

from virc.core.errors import DataError
from virc.core.files import IN_THE_WAY
from virc.core.text import plain


def move_in(staged: Path, root: Path) -> None:
    """Move all that is in one folder into another on the same disk; a second call goes on.

    What was there already stays in the first folder, and so do folders that both have.

    Raises:
        DataError: something else has one of the names; nothing is ever replaced.
        OSError: the disk refuses.
    """
    for place, folders, files in os.walk(staged):
        here, there = Path(place), root / Path(place).relative_to(staged)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*files, *links]:
            _move(here / name, there / name)
        folders[:] = [name for name in folders if name not in links and not _moved(here / name, there / name)]


def _moved(source: Path, target: Path) -> bool:
    """Move a folder as a whole, where none of that name is there."""
    if target.is_dir() and not target.is_symlink():
        return False
    _move(source, target)
    return True


def _move(source: Path, target: Path) -> None:
    if not os.path.lexists(target):
        source.rename(target)
    elif not _is_same(source, target):
        raise DataError(f"something else is there: {target.parent / plain(target.name)}", IN_THE_WAY)


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
