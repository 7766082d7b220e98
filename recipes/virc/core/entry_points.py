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
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from virc.core.errors import ConfigError

Group = Literal[
    "virc.systems", "virc.tools", "virc.rewards", "virc.strategies", "virc.operators", "virc.commands",
    "virc.drawn_families", "virc.evaluation_columns", "virc.benchmarks", "virc.token_weights", "virc.hooks",
]  # fmt: skip


_COMMAND = re.compile(r"(?ms)^def command\(.*?(?=^[^\s)]|\Z)")


def entries(group: Group) -> Mapping[str, tuple[str, str]]:
    """The entry points of a group by their names: the module, and the package that names it.

    They are read without importlib.metadata, which takes ten times as long to import.
    """
    found: dict[str, tuple[str, str]] = {}
    for package, text in sorted(_files(tuple(sys.path)), key=lambda file: file[0] not in OWN):
        if f"[{group}]".encode() not in text:
            continue
        for line in text.decode().partition(f"[{group}]")[2].partition("\n[")[0].splitlines():
            name, is_one, value = line.partition("=")
            if is_one:  # after those of this distribution the first on the path counts, as for modules
                found.setdefault(name.strip(), (value.partition(":")[0].strip(), package))
    return found


@cache
def _files(path: Sequence[str]) -> Sequence[tuple[str, bytes]]:
    """The files of entry points on a path, each with the name of its package; read once for all groups."""
    files = [file for folder in path for file in Path(folder).glob("*-info/entry_points.txt")]
    return [(file.parent.name.partition("-")[0].replace("_", "-"), file.read_bytes()) for file in files]


OWN = ("virc", "virc-systems")
"""The package that this code is distributed in, and that of its copy for an engine."""


@cache
def modules(group: Group) -> Mapping[str, str]:
    """The modules of a group that are there, by the names of their entry points; none is imported.

    A command of another package is listed without its module, too: whoever names it is told what is wrong.
    """
    listed = entries(group).items()
    is_lenient = group == "virc.commands"
    return {name: module for name, (module, of) in listed if source(module) or (is_lenient and of not in OWN)}


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
    """Raise ConfigError for what this distribution has in an extra that is not here.

    Args:
        name: of an entry point, or of anything else, which is passed.
        what: it is, such as `strategy`.
    """
    if entries(group).get(name, ("", ""))[1] in OWN and name not in own(group):
        raise not_installed(f"that has the {what} {name}")


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
    text = file.read_text("utf-8")
    alone = _COMMAND.search(text)  # to parse all of each file would take as long as Python's own start
    try:
        tree = ast.parse(alone[0] if alone else text)
    except SyntaxError:
        tree = ast.parse(text)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "command")
    return (ast.get_docstring(next(functions, tree)) or "").partition("\n")[0]


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
    from virc.core.text import clause

    try:
        found = importlib.import_module(module)
        for member in members:
            getattr(found, member)
    except (Exception, SystemExit) as raised:  # others' code may fail in any way
        error = guarded.as_error(raised)
        package = entries(group)[name][1]
        sentence = f"the {what} {name} of the installed package {package} cannot be loaded: "
        reason = f"{type(error).__name__}: {clause(error)}"
        raise ConfigError(sentence + reason, f"update the package, or pip uninstall {package}") from error
    return found


def source(module: str) -> Path | None:
    """The file of a module, found without importing the packages around it; None where there is none."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not inner:
        return Path(spec.origin) if spec and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *inner)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None
