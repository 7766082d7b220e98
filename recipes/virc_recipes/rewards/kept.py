"""What a run keeps of its reward, so that every worker on every node finds it: settings, and the user's own files."""

import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import msgspec

from virc_recipes import rewards, tools
from virc_recipes.errors import ConfigError
from virc_recipes.systems import Reward

CODE = "code"
JUDGED = "judge"
"""Folder of the judge's replies, so that a run that is resumed asks nothing twice."""

_PACKAGE = Path(rewards.__file__).parents[1]


def own_files(reward: Reward, beside: Path | None, names: Iterable[str]) -> list[Path]:
    """The files outside this package that a reward and tools stand in.

    Args:
        beside: folder of the system's YAML.
        names: of tools, or of their files.

    Raises:
        ConfigError: there is none of a name, or two files have one name.
    """
    total = rewards.find(reward.total, beside)
    files = [total.file, *(term.file for term in total.terms)]
    files += [file for name in names if (file := tools.file_of(name, beside))]
    own = dict.fromkeys(file.resolve() for file in files if not file.resolve().is_relative_to(_PACKAGE))
    by_name: dict[str, Path] = {}
    for file in own:
        if by_name.setdefault(file.name, file) != file:
            raise ConfigError(f"{by_name[file.name]} and {file} have one name", "give one of them another")
    return list(own)


def copy(files: Iterable[Path], to: Path) -> dict[str, str]:
    """Copy files into a new folder; returns the SHA-256 of each by its name."""
    hashes = {}
    for file in files:
        to.mkdir(exist_ok=True)
        shutil.copyfile(file, to / file.name)
        hashes[file.name] = sha256((to / file.name).read_bytes()).hexdigest()
    return hashes


def moved(reward: Reward, beside: Path | None, to: Path) -> Reward:
    """The reward with its total in the copies that lie in a folder, where it is the user's own."""
    file = rewards.find(reward.total, beside).file.resolve()
    if file.is_relative_to(_PACKAGE):
        return reward
    return msgspec.structs.replace(reward, total=str(to / file.name))
