"""What installed packages add to virc: their entry points, and the commands among them.

The groups are those of `Group`. An entry of `virc.commands` is a module with a Typer `command`, a function or a group;
the name `data.NAME` makes it a command of the group `data`. A command is imported where the command line names it, and
not before. Those of `virc.hooks` are of this distribution's extras alone (`hook`), each for one place in the core:
`options.COMMAND.OPTION` does what an option of a core command asks for, `system_keys.KEY` reads a key of a system's
YAML, `functions.NAME` has a function of `import virc`.
"""

import ast
import importlib.util
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from virc.core.errors import ConfigError
from virc.core.text import clause, plain

Group = Literal[
    "virc.systems", "virc.tools", "virc.rewards", "virc.strategies", "virc.operators", "virc.commands",
    "virc.drawn_families", "virc.evaluation_columns", "virc.benchmarks", "virc.token_weights", "virc.hooks",
]  # fmt: skip


_COMMAND = re.compile(rb"(?ms)^def command\(.*?(?=^[^\s)]|\Z)")
_NAME = re.compile(r"\w[\w-]*(\.\w[\w-]*)?")


def entries(group: Group) -> Mapping[str, tuple[str, str]]:
    """The entry points of a group by their names: the module, and the package that names it.

    They are read without importlib.metadata, which takes ten times as long to import.
    """
    found: dict[str, tuple[str, str]] = {}
    for package, text in sorted(_files(tuple(sys.path)), key=lambda file: file[0] not in OWN):
        if isinstance(text, OSError) or f"[{group}]".encode() not in text:
            continue
        for line in text.decode(errors="replace").partition(f"[{group}]")[2].partition("\n[")[0].splitlines():
            name, _, value = line.partition("=")
            if value and name.strip():  # after those of this distribution the first on the path counts, as for modules
                found.setdefault(name.strip(), (value.partition(":")[0].strip(), package))
    return found


@cache
def _files(path: Sequence[str]) -> Sequence[tuple[str, bytes | OSError]]:
    """The files of entry points on a path, each with the name of its package; read once for all groups."""
    files = [file for folder in path for file in Path(folder).glob("*-info/entry_points.txt")]
    return [(file.parent.name.partition("-")[0].replace("_", "-"), _read(file)) for file in files]


def _read(file: Path) -> bytes | OSError:
    try:
        return file.read_bytes()
    except OSError as error:
        return error


OWN = ("virc", "virc-systems")
"""The package that this code is distributed in, and that of its copy for an engine."""


@cache
def modules(group: Group) -> Mapping[str, str]:
    """The modules of a group that are there, by the names of their entry points; none is imported.

    A command of another package is listed without its module, too: whoever names it is told what is wrong.
    """
    listed = {name: each for name, each in entries(group).items() if not refused(name, each[1])}
    is_lenient = group == "virc.commands"
    return {name: module for name, (module, of) in listed.items() if (is_lenient and of not in OWN) or source(module)}


def refused(name: str, package: str) -> str | None:
    """Why the entry of that name in another package is left out; None: it is not."""
    return None if package in OWN or _NAME.fullmatch(name) else "its name is not NAME or GROUP.NAME"


def unreadable() -> Mapping[str, str]:
    """Why the entry points of packages cannot be read, by the packages' names."""
    return {package: clause(error) for package, error in _files(tuple(sys.path)) if isinstance(error, OSError)}


@cache
def own(group: Group) -> Mapping[str, str]:
    """Those of this distribution: of extras, where they are installed."""
    named = entries(group)
    return {name: module for name, module in modules(group).items() if named[name][1] in OWN}


def not_installed(which: str) -> ConfigError:
    """The error for an extra that is not here; `which` says what it has or does, such as `that runs pipelines`."""
    return ConfigError(f"the extra {which} is not installed", "install the whole package virc")


def hook(name: str) -> ModuleType | None:
    """The module for that place in the core, of an extra or of a later room; None: the extra is not installed."""
    module = own("virc.hooks").get(name)
    return importlib.import_module(module) if module else None


def of_option(command: str, option: str) -> ModuleType:
    """The module of an extra that does what an option of a command asks for.

    Raises:
        ConfigError: the extra is not installed.
    """
    if module := hook(f"options.{command.replace(' ', '.')}.{option}"):
        return module
    raise not_installed(f"of virc {command} --{option}")


def check_installed(group: Group, name: str, what: str) -> None:
    """Raise ConfigError for what this distribution has in an extra that is not here, and for an entry that is refused.

    Args:
        name: of an entry point, or of anything else, which is passed.
        what: it is, such as `strategy`.
    """
    package = entries(group).get(name, ("", ""))[1]
    if package in OWN and name not in own(group):
        raise not_installed(f"that has the {what} {name}")
    if package and (reason := refused(name, package)):
        raise not_loaded(what, name, package, reason)


def own_packages() -> set[str]:
    """The import packages that this distribution has besides the core: extras and published systems."""
    return {module.partition(".")[0] for group in get_args(Group) for module in own(group).values()}


def extras() -> set[str]:
    """The folders of this distribution's extras that are installed, such as `sandbox`."""
    modules_of_extras = (module for group in get_args(Group) for module in own(group).values() if "." in module)
    return {module.split(".")[1] for module in modules_of_extras}


def command_line(module: str) -> str:
    """What the list of commands says of one: the first line of the docstring of its `command`, else of its module."""
    file = source(module)
    if file is None:
        return f"Cannot be loaded: there is no module {module}."
    try:
        tree = _tree(file.read_bytes(), is_own=module in own("virc.commands").values())
    except Exception as error:  # the file of others may be anything
        return f"Cannot be loaded: {type(error).__name__}: {clause(error)}."
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "command")
    return (ast.get_docstring(next(functions, tree)) or "").partition("\n")[0]


def _tree(code: bytes, is_own: bool) -> ast.Module:
    alone = _COMMAND.search(code) if is_own else None  # to parse all of ours would take as long as Python's own start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(alone[0] if alone else code)


def import_command(name: str, module: str) -> ModuleType:
    """The module of a command of an installed package. Raises ConfigError: it raises, or has no command."""
    return load("virc.commands", "command", name, module, ("command",))


def load(group: Group, what: str, name: str, module: str, members: Sequence[str]) -> ModuleType:
    """The module of an entry point of an installed package.

    Args:
        what: the kind of the entry point in messages, such as `command`.
        members: names that the module must define.

    Raises:
        ConfigError: the import raises, or the module lacks a member.
    """
    from virc.core.limits import guarded

    try:
        found = importlib.import_module(module)
        for member in members:
            getattr(found, member)
    except (Exception, SystemExit) as raised:  # others' code may fail in any way
        error = guarded.as_error(raised)
        raise not_loaded(what, name, entries(group)[name][1], f"{type(error).__name__}: {clause(error)}") from error
    return found


def not_loaded(what: str, name: str, package: str, reason: str) -> ConfigError:
    """The error for an entry point of an installed package."""
    sentence = f"the {what} {plain(name)} of the installed package {package} cannot be loaded: {reason}"
    return ConfigError(sentence, f"update the package, or pip uninstall {package}")


def source(module: str) -> Path | None:
    """The file of a module, found without importing the packages around it; None where there is none."""
    top, *inner = module.split(".")
    is_name = all(map(str.isidentifier, (top, *inner))) and top != "__main__"
    spec = importlib.util.find_spec(top) if is_name else None
    if spec is None or not inner:
        return Path(spec.origin) if spec and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *inner)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None
