"""The packages that code in the sandbox may import: those on a list and what they need, as they are installed here."""

import re
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

_REQUIRED = re.compile(r"[A-Za-z0-9][\w.-]*")


@cache
def installed(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The files and folders of distributions and of all that they require; those that are not installed are left out.

    Args:
        names: of distributions, such as `pillow`.
    """
    wanted, known = list(names), set[str]()
    found: dict[Path, None] = {}
    for name in wanted:
        if (usual := re.sub(r"[-_.]+", "-", name).lower()) in known:
            continue
        known.add(usual)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found |= dict.fromkeys(_top(distribution))
        wanted += _required(distribution.requires or ())
    return tuple(found)


def _required(lines: Iterable[str]) -> list[str]:
    plain = (line for line in lines if not re.search(r"\bextra\s*==", line))
    return [match[0] for line in plain if (match := _REQUIRED.match(line))]


def _top(distribution: metadata.Distribution) -> list[Path]:
    # a path may also be absolute, as of a manual page; its first part is the root folder of this machine
    own = (file.parts for file in distribution.files or () if not file.is_absolute())
    parts = dict.fromkeys(each[0] for each in own if each)
    names = (part for part in parts if part not in ("..", "__pycache__") and not part.endswith((".dist-info", ".pth")))
    return [path for name in names if (path := Path(str(distribution.locate_file(name)))).exists()]
