"""Custom systems, rewards and tools: found in folders that the user names or in installed packages.

An installed package names them by entry points of the groups `virc.systems` (a package or module; systems are the YAML
files in its folder, and `system.yaml` in folders of it, which may have totals of rewards), `virc.tools` and
`virc.rewards` (a module with the members of a file of that kind). A module is loaded where a system, an option or a
chat protocol names it, and not before.
"""

import importlib.util
import logging
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Literal

from virc.core import entry_points, module_files
from virc.core.entry_points import Group, entries
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file
from virc.core.limits import guarded
from virc.core.text import clause

_LOG = logging.getLogger(__name__)
SEARCH_PATH = "VIRC_PATH"
"""The variable that names folders of systems, rewards, tools and operators, separated as in PATH."""
OF_A_SYSTEM = ("system.yaml", "field.yaml")
"""One of them is in each folder for one system."""
_NOT_ONE = "registry"  # the module that finds the others
_NO_TOTALS = ("pipeline", "rows")
_MODULES: dict[Path, str] = {}  # file -> the name that its package imports it by


@cache
def module_names(package: str) -> tuple[str, ...]:
    """The modules of a package of one kind (tools, formats, terms of rewards): a new file is found by itself."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(sorted(each.name for each in found if each.name != _NOT_ONE))


def module_of(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")


def built_in(package: str, group: Group) -> Mapping[str, str]:
    """The modules of a kind that are in its package, and those of extras that are here, by their names."""
    return {**{name: f"{package}.{name}" for name in module_names(package)}, **entry_points.own(group)}


def folders(beside: Path | None) -> list[Path]:
    """Where to look: the folder of the system's YAML, then those of `VIRC_PATH`."""
    named = [expanded(folder) for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if folder]
    return [*([beside] if beside else []), *named]


def is_path(name: str) -> bool:
    return is_file_name(name) or "/" in name


def is_file_name(name: str) -> bool:
    """Whether this ends as the name of a file of code, or of a tool that a server carries out, does."""
    return name.endswith((".py", ".yaml"))


def file_of(name: str, places: Sequence[Path], group: Group | None, suffixes: Sequence[str] = (".py",)) -> Path | None:
    """`NAME.py` in the first folder that has it, else the module that an installed package has by that name."""
    if not name.isidentifier():
        return None
    return file_in(places, name, suffixes) or (installed(group).get(name) if group else None)


def custom(
    name: str, beside: Path | None = None, group: Group | None = None, suffixes: Sequence[str] = (".py",)
) -> Path | None:
    """The file of a tool, strategy or the like by its path, or by its name in `folders` and installed packages."""
    if is_path(name):
        path = expanded(name).absolute()
        return path if is_file(path) else None
    return file_of(name, folders(beside), group, suffixes)


def file_in(places: Sequence[Path], name: str, suffixes: Sequence[str]) -> Path | None:
    """The file of that name in the first folder that has one, with the first suffix there is; None where none has."""
    files = (folder / f"{name}{suffix}" for folder in places for suffix in suffixes)
    return next((file for file in files if is_file(file)), None)


@cache
def installed(group: Group) -> Mapping[str, Path]:
    """The files of others' modules in a group, by the names of their entry points; one without a module is logged."""
    found = {name: (spec.name, Path(spec.origin)) for name, spec in _specs(group) if spec.origin}
    _MODULES.update((file, module) for module, file in found.values())
    return {name: file for name, (_, file) in found.items()}


def in_system_folders(name: str) -> list[Path]:
    """The files of that name, or pattern, in the folders for one system each of installed packages, in order."""
    return [file for folder in system_packages() for file in sorted(folder.glob(f"*/{name}"))]


def is_of_a_system(file: Path) -> bool:
    return file.absolute().parent.parent in system_packages()


@cache
def totals() -> Mapping[str, Path]:
    """The totals of rewards in the folders for one system each of installed packages, by their names."""
    found = {
        file.stem: file
        for file in in_system_folders("[!_]*.py")
        if file.stem not in _NO_TOTALS and any(is_file(file.with_name(each)) for each in OF_A_SYSTEM)
    }
    return _imported_by_name(found)


@cache
def of_systems(kind: Literal["operators", "tools"]) -> Mapping[str, Path]:
    """The operators over rows, or the tools, in the folders for one system each of installed packages, by names.

    Raises:
        ConfigError: two have one name.
    """
    found: dict[str, Path] = {}
    for file in in_system_folders(f"{kind}/[!_]*.py"):
        if (other := found.setdefault(file.stem, file)) != file:
            raise ConfigError(f"{other} and {file} have one name", "update or uninstall one of their packages")
    return _imported_by_name(found)


def _imported_by_name(files: Mapping[str, Path]) -> Mapping[str, Path]:
    for folder, package in system_packages().items():
        inside = (file for file in files.values() if file.is_relative_to(folder))
        _MODULES.update((each, ".".join((package, *each.relative_to(folder).with_suffix("").parts))) for each in inside)
    return files


@cache
def system_packages() -> Mapping[Path, str]:
    """The folders of systems in installed packages, with the names that the packages are imported by."""
    found: dict[Path, str] = {}
    for _, spec in _specs("virc.systems"):
        if spec.submodule_search_locations:
            found.update((Path(folder), spec.name) for folder in spec.submodule_search_locations)
        else:
            found[Path(spec.origin or "").parent] = spec.parent or ""
    return found


def _specs(group: Group) -> Iterator[tuple[str, ModuleSpec]]:
    for name, (named, package) in entries(group).items():
        is_read_here = group == "virc.systems" or (group == "virc.rewards" and entry_points.source(named))
        if package in entry_points.OWN and not is_read_here:
            continue
        try:
            spec = importlib.util.find_spec(named)
            reason = "there is no such module"
        except Exception as error:  # it imports the package around it, which may fail in any way
            spec, reason = None, f"{type(error).__name__}: {clause(error)}"
        if spec:
            yield name, spec
        else:  # what names nothing of it goes on
            _LOG.warning("the installed package %s names %s, which cannot be found: %s", package, named, reason)


@cache
def group_rules() -> Mapping[str, Callable[..., list[float]]]:
    """The functions in `RULES` of `group_rules.py` in packages of systems, by their names."""
    found: dict[str, Callable[..., list[float]]] = {}
    for folder, package in system_packages().items():
        if is_file(folder / "group_rules.py"):
            found |= importlib.import_module(f"{package}.group_rules").RULES
    return found


@cache
def loaded(file: Path) -> ModuleType:
    return fresh(file)


def fresh(file: Path) -> ModuleType:
    """The module that a file is now; that of an installed package is imported by its name.

    Raises:
        ConfigError: it is no Python, or raises.
    """
    name = f"virc_own_{sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is no Python")
    module = importlib.util.module_from_spec(spec)
    installed("virc.tools"), installed("virc.rewards")  # which note the names of their modules
    if file.absolute() not in _MODULES:
        module_files.watch(file)
    try:
        if module_name := _MODULES.get(file.absolute()):
            module = importlib.import_module(module_name)
        else:
            sys.modules[name] = module
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as raised:  # it is the user's own code, and may fail in any way
        error = guarded.as_error(raised)
        sys.modules.pop(name, None)
        line = line_in(file, error)
        where = f", in line {line}" if line else ""
        raise ConfigError(f"{file} cannot be loaded: {type(error).__name__}: {clause(error)}{where}") from error
    guarded.guard(module)
    return module


def line_in(file: Path, error: BaseException) -> int | None:
    """The last line of a file that an error came through; None where it came from elsewhere, or names its line."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((each.lineno for each in reversed(frames) if each.filename == str(file)), None)
