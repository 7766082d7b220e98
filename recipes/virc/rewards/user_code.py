"""The files of a run that its reward needs on every worker: the user's own Python and the questions to judges."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from virc.core import plugins, processes
from virc.core.errors import ConfigError
from virc.core.module_files import needed_files
from virc.rewards import registry as rewards
from virc.systems.registry import Reward
from virc.tools import registry as tools

CODE = tools.CODE
JUDGED = "judge"
"""Folder of the judge's replies, so that a run that is resumed asks nothing twice."""

UNLESS = ", unless code of your reward or tools names it"
"""What is said of variables that an engine does not get, for `variables_in_code`."""
_PACKAGE = Path(rewards.__file__).parents[1]


def own_files(reward: Reward, beside: Path | None, names: Iterable[str]) -> dict[str, Path]:
    """The files outside this package of a reward and of the tools of these names, by the names of their copies.

    `beside` is the folder of the system's YAML. A ConfigError where a tool is missing, or two files have one name.
    """
    total = rewards.of(reward, beside)
    asked = [Path(reward.judge.questions)] if reward.judge.questions else []
    files = [(file.name, file) for file in (total.file, *(term.file for term in total.terms), *asked)]
    files += _loaded_tools(beside, names).items()
    return with_beside((name, file) for name, file in files if is_own(file))


def with_beside(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Files by the names of their copies, and the files beside them that they need."""
    own: dict[str, Path] = {}
    for module_name, module in files:
        for name, file in {module_name: module, **needed_files(module)}.items():
            if own.setdefault(name, place := file.resolve()) != place:
                raise ConfigError(f"{own[name]} and {place} have one name", "give one of them another")
    return own


def is_own(file: Path) -> bool:
    return not (file.resolve().is_relative_to(_PACKAGE) or plugins.is_of_a_system(file))


def own_tools(beside: Path | None, names: Iterable[str]) -> dict[str, Path]:
    return with_beside(_loaded_tools(beside, names).items())


def _loaded_tools(beside: Path | None, names: Iterable[str]) -> dict[str, Path]:
    offered = tuple(names)
    loaded = tools.load(offered, beside, of_chat_protocol=True)
    tools.check_loaded(offered, "the chat protocol")
    return tools.own_files(loaded)


def copy(files: Mapping[str, Path], to: Path) -> dict[str, str]:
    hashes = {}
    for name, file in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to / name)
        hashes[name] = sha256((to / name).read_bytes()).hexdigest()
    return hashes


def copies(run: Path) -> Iterator[Path]:
    """The files that `copy` wrote into a run: of its own system, and of its sources."""
    return (file for each in ("code/**/*", "sources/*/code/**/*") for file in run.glob(each) if file.is_file())


def variables_in_code(run: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run's copies of the user's own code name: an engine gets no others of unknown names."""
    words = {word for file in copies(run) for word in re.findall(r"\w+", file.read_text("utf-8", "replace"))}
    return {name: given[name] for name in words & given.keys() - set(processes.of_launchers(given))}


def moved(reward: Reward, beside: Path | None, to: Path) -> Reward:
    if asked := reward.judge.questions:
        judge = msgspec.structs.replace(reward.judge, questions=str(to / Path(asked).name))
        reward = msgspec.structs.replace(reward, judge=judge)
    file = rewards.of(reward, beside).file
    if not is_own(file):
        return reward
    return msgspec.structs.replace(reward, total=str(to / file.name))
