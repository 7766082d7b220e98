"""Custom systems, rewards and tools: found in folders that the user names or in installed packages.

An installed package names them by entry points of the groups `virc.systems` (a package or module; systems are the YAML
files in its folder), `virc.tools` and `virc.rewards` (a module with the members of a file of that kind). A module is
loaded where a system, an option or a chat protocol names it, and not before.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Literal

from virc.core import guarded
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file
from virc.core.text import clause

SEARCH_PATH = "VIRC_PATH"
"""The variable that names folders of systems, rewards and tools, separated as in PATH."""
Group = Literal["virc.systems", "virc.tools", "virc.rewards"]
"""Groups of entry points."""
_MODULES: dict[Path, str] = {}  # file -> the name that its package imports it by


def folders(beside: Path | None) -> list[Path]:
    """Where to look: the folder of the system's YAML, then those of `VIRC_PATH`."""
    named = [expanded(folder) for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if folder]
    return [*([beside] if beside else []), *named]


def is_path(name: str) -> bool:
    """Whether this names a file, not what lies in a folder."""
    return is_file_name(name) or "/" in name


def is_file_name(name: str) -> bool:
    """Whether this ends as the name of a file of code, or of a tool that a server carries out, does."""
    return name.endswith((".py", ".yaml"))


def file_of(name: str, places: Sequence[Path], group: Group, suffixes: Sequence[str] = (".py",)) -> Path | None:
    """`NAME.py` in the first folder that has it, else the module that an installed package has by that name.

    Args:
        name: of a system, reward or tool.
        places: folders, the first that has it counts.
        group: of entry points.
        suffixes: those that its file may have.
    """
    if not name.isidentifier():
        return None
    return file_in(places, name, suffixes) or installed(group).get(name)


def file_in(places: Sequence[Path], name: str, suffixes: Sequence[str]) -> Path | None:
    """The file of that name in the first folder that has one, with the first suffix there is; None where none has."""
    files = (folder / f"{name}{suffix}" for folder in places for suffix in suffixes)
    return next((file for file in files if is_file(file)), None)


@cache
def installed(group: Group) -> Mapping[str, Path]:
    """The files of the modules in a group, by the names of their entry points.

    Raises:
        ConfigError: an installed package names a module that cannot be found.
    """
    found = {name: (spec.name, Path(spec.origin)) for name, spec in _specs(group) if spec.origin}
    _MODULES.update((file, module) for module, file in found.values())
    return {name: file for name, (_, file) in found.items()}


@cache
def system_folders() -> Sequence[Path]:
    """The folders of systems in installed packages.

    Raises:
        ConfigError: an installed package names a module that cannot be found.
    """
    return [
        Path(folder)
        for _, spec in _specs("virc.systems")
        for folder in spec.submodule_search_locations or [str(Path(spec.origin or "").parent)]
    ]


def _specs(group: Group) -> Iterator[tuple[str, ModuleSpec]]:
    files = (file for folder in sys.path for file in Path(folder).glob("*-info/entry_points.txt"))
    if not any(f"[{group}]".encode() in file.read_bytes() for file in files):
        return  # importlib.metadata takes ten times as long to import
    from importlib.metadata import entry_points

    for each in entry_points(group=group):
        package = each.dist.name if each.dist else each.value
        try:
            spec = importlib.util.find_spec(each.module)
            reason = "there is no such module"
        except Exception as error:  # it imports the package around it, which may fail in any way
            spec, reason = None, f"{type(error).__name__}: {clause(error)}"
        if spec is None:
            sentence = f"the installed package {package} names {each.module}, which cannot be found: {reason}"
            raise ConfigError(sentence, f"update the package, or pip uninstall {package}")
        yield each.name, spec


@cache
def loaded(file: Path) -> ModuleType:
    """The module that a file is; that of an installed package is imported by its name.

    Raises:
        ConfigError: it is no Python, or raises.
    """
    name = f"virc_own_{sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is no Python")
    module = importlib.util.module_from_spec(spec)
    try:
        if module_name := _module_of(file):
            module = importlib.import_module(module_name)
        else:
            sys.modules[name] = module
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as raised:  # it is the user's own code, and may fail in any way
        if isinstance(raised, SystemExit) and guarded.is_of_a_signal(raised):
            raise
        sys.modules.pop(name, None)
        error = (
            raised if isinstance(raised, Exception) else guarded.ExitError(raised).with_traceback(raised.__traceback__)
        )
        line = line_in(file, error)
        where = f", in line {line}" if line else ""
        raise ConfigError(f"{file} cannot be loaded: {type(error).__name__}: {clause(error)}{where}") from error
    guarded.guard(module)
    return module


def _module_of(file: Path) -> str | None:
    """The name that a module of an installed package is imported by, however its file was found."""
    installed("virc.tools")
    installed("virc.rewards")
    return _MODULES.get(file.absolute())


def line_in(file: Path, error: BaseException) -> int | None:
    """The last line of a file that an error came through; None where it came from elsewhere, or names its line."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((each.lineno for each in reversed(frames) if each.filename == str(file)), None)
