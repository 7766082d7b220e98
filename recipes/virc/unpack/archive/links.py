"""Where a symbolic link leads, followed on the disk and not by its letters."""

import os
import stat

from virc.core.text import plain

PARTIAL = "virc-unpack.partial"
"""The folder that is there while an archive is unpacked, and not after."""

_LONGEST = 4096  # characters
_MAX_LINKS = 255  # links in a row; no system follows so many


def why_not(root: str, name: str, target: str) -> str | None:
    """Why a link may not be made: it leads out of `root`, or could once more is there. None: it may.

    `..` may only come behind names that are there: those stay what they are, while a name that is not there yet
    may become a link to anywhere in the folder, and then `..` would be another place. No folder of `name` is a link.
    """
    if not target or len(target) > _LONGEST or set(target) & {"\0", "\\"}:
        return "its target is not a name"
    here, ahead, links = name.split("/")[:-1], _steps(target), 0
    is_there = True
    while ahead:
        step = ahead.pop()
        if links > _MAX_LINKS:
            return None  # a circle: it leads nowhere
        if step == "/" or (step == ".." and not here):
            return f"it links to {plain(target)}, out of the folder"
        if step == "..":
            if not is_there:
                return f"it links to {plain(target)}, and steps back from a name that is not there"
            here.pop()
            continue
        here.append(step)
        stays = is_there and [part.casefold() for part in here] != [PARTIAL]
        there = lstat("/".join([root, *here])) if stays else None
        if there is None:
            is_there = False
        elif stat.S_ISLNK(there.st_mode):
            links += 1
            ahead += _steps(os.readlink("/".join([root, *here])))  # noqa: PTH115
            here.pop()
        elif ahead and not stat.S_ISDIR(there.st_mode):
            # Through a file it leads nowhere, as it would where the file came after it; but `..` is no way back.
            return f"it links to {plain(target)}, and steps back from a file" if ".." in ahead else None
    return None


def _steps(target: str) -> list[str]:
    """The parts of a path, the last first; `/` stands for the beginning of an absolute one."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return parts[::-1] + ["/"] * target.startswith("/")


def lstat(path: str) -> os.stat_result | None:
    """What is at a path, links not followed; None: nothing."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
