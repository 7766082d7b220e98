"""Files of tools as they stand in folders: read, and none is run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from virc.core import plugins
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file, is_folder
from virc.core.text import clause, plain
from virc.remote import described
from virc.systems import registry as systems
from virc.tools import registry as tools

Kind = Literal["built in", "Python file", "HTTP", "MCP"]
_MEMBERS = {"NAME": "NAME", "SCHEMA": "SCHEMA", "TEMPLATE": "TEMPLATE", "apply": "apply(call, source)"}
"""What a tool in Python cannot do without, as a sentence names it."""
_ALLOWED = "letters, digits and _, and no digit first"


class Listed(msgspec.Struct, frozen=True):
    """A tool that can be named.

    Args:
        about: its first sentence.
        file: of a custom tool.
    """

    name: str
    kind: Kind
    about: str
    file: Path | None = None


class Faulty(msgspec.Struct, frozen=True):
    """A file, or a folder of `VIRC_PATH`, and why no tool comes of it, or none that all commands find."""

    file: Path
    reason: str
    hint: str | None = None


class Found(msgspec.Struct, frozen=True):
    """The tools that can be named, and what is wrong with files beside them."""

    tools: tuple[Listed, ...]
    faults: tuple[Faulty, ...]


def found(system: str | None = None) -> Found:
    """The built-in tools, then those of folders in `VIRC_PATH`, beside a system and of installed packages.

    Raises:
        ConfigError: there is no such system.
    """
    built_in = [Listed(name, "built in", _about(tool.__doc__)) for name, tool in sorted(tools.discover().items())]
    folders = plugins.folders(beside(system))
    files = [file for folder in folders for suffix in tools.SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    own: dict[str, Listed] = {}
    faults = [
        Faulty(each, f"there is no such folder, and {plugins.SEARCH_PATH} names it") for each in _missing(folders)
    ]
    for file in (*files, *plugins.installed("virc.tools").values()):
        tool, fault = (_declared if file.suffix == ".py" else _described)(file)
        faults += [fault] if fault else []
        if tool and tool.name not in tools.discover():
            own.setdefault(tool.name, tool)
    return Found((*built_in, *own.values()), tuple(faults))


def beside(system: str | None) -> Path | None:
    """The folder where a system's own tools may be."""
    return systems.get(system).file.parent if system else None


def check_file(name: str, system: str | None) -> Path | None:
    """The file of a tool of one's own, once nothing is wrong with it that is seen before it runs; None: it is none.

    Raises:
        ConfigError: there is no such file, or it is no tool's; the hint names the nearest.
    """
    check_name(name, system)
    file = tools.file_of(name, beside(system))
    if file is None:
        return None
    if file.suffix == ".py" and (fault := _declared(file)[1]):
        raise ConfigError(f"{file}: {fault.reason}", fault.hint)
    if file.suffix == ".yaml" and (fault := misnamed(described.read(file).name or file.stem, file)):
        raise ConfigError(f"{file}: {fault.reason}", fault.hint)
    return file


def check_name(name: str, system: str | None) -> None:
    """Raise ConfigError where there is no such file, and one of nearly that name, or no tool can be called so."""
    if tools.file_of(name, beside(system)) or name in tools.known():
        return
    kind = f"there is no file {name}" if "/" in name else f"there is no tool {plain(name, 60)!r}"
    near = next((f"{name}{suffix}" for suffix in tools.SUFFIXES if is_file(expanded(f"{name}{suffix}"))), None)
    if near and ("/" in name or not name.isidentifier()):
        raise ConfigError(kind, f"did you mean {near}?")
    if plugins.is_file_name(name):
        return
    if is_file(expanded(name)):
        raise ConfigError(f"{name} is no file of a tool, which is NAME.py or NAME.yaml", "virc tools ls")
    if "/" not in name and not name.isidentifier():
        raise ConfigError(f"{kind}: names have {_ALLOWED}", "virc tools ls")


def _missing(folders: list[Path]) -> list[Path]:
    return [folder for folder in folders if not is_folder(folder)]


def _declared(file: Path) -> tuple[Listed | None, Faulty | None]:
    """The tool that a file of Python is by what it defines, None where it is none; and what is wrong with it."""
    try:
        parsed = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return None, Faulty(file, f"it is no Python: {plain(error.msg, 100)}, in line {error.lineno}")
    except (OSError, ValueError, RecursionError) as error:
        return None, Faulty(file, f"it cannot be read: {clause(error)}")
    if not parsed.body and file.name != "__init__.py":
        return None, Faulty(file, "it is empty")
    assigned = dict(pair for each in parsed.body for pair in _assigned(each))
    if not {"NAME", "SCHEMA"} & assigned.keys():
        return None, None
    value = assigned.get("NAME")
    name = value.value if isinstance(value, ast.Constant) else file.stem  # what is computed is not known here
    if not isinstance(name, str):
        return None, Faulty(file, f"its NAME {name!r} is no text")
    return Listed(name, "Python file", _about(ast.get_docstring(parsed)), file), (
        _lacking(parsed, file) or misnamed(name, file)
    )


def _described(file: Path) -> tuple[Listed | None, Faulty | None]:
    """The remote tool that a YAML file describes, None where it is something else; and what is wrong with it."""
    try:
        read = described.read(file)
    except ConfigError as error:
        text = file.read_text(errors="replace") if is_file(file) else ""
        is_meant = any(line.startswith(("http:", "mcp:")) for line in text.splitlines())
        reason = re.sub(r"^:(\d+): ", r"line \1: ", error.message.removeprefix(str(file))).removeprefix(": ")
        return None, Faulty(file, reason, error.hint) if is_meant else None
    name, kind = read.name or file.stem, "HTTP" if read.http else "MCP"
    return Listed(name, kind, _about(read.description), file), misnamed(name, file)  # type: ignore[arg-type]


def misnamed(name: str, file: Path) -> Faulty | None:
    """What is wrong with a tool's name: chat protocols keep it, and its file is found by it."""
    if not name.isidentifier():
        return Faulty(file, f"its NAME {plain(name, 40)!r} cannot be written by models: names have {_ALLOWED}")
    if name in tools.discover():
        return Faulty(file, f"its NAME {name!r} is that of a built-in tool; choose another")
    if name != file.stem:
        reason = f"its NAME is {name!r}, and by that name no command finds {file.name}"
        return Faulty(file, reason, f"mv {file} {file.with_stem(name)}")
    return None


def _lacking(parsed: ast.Module, file: Path) -> Faulty | None:
    """Which member a tool has not, as far as its text tells: a name that is given anywhere in it counts."""
    names: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    lacking = [] if "*" in names else [shown for name, shown in _MEMBERS.items() if name not in names]
    return Faulty(file, f"it is not a tool: it has no {'; no '.join(lacking)}") if lacking else None


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement gives a value; each of several that one expression gives has all of it."""
    targets: list[ast.expr]
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value:
        targets, value = [statement.target], statement.value
    else:
        return
    for target in targets:
        yield from _bound(target, value)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        of_each = values if len(values) == len(target.elts) else [value] * len(target.elts)
        for name, each in zip(target.elts, of_each, strict=True):
            yield from _bound(name, each)


def _about(docstring: str | None) -> str:
    """The first line of a tool's docstring, without the name that it may begin with."""
    line = (docstring or "").strip().partition("\n")[0]
    return line.partition("`: ")[2] if line.startswith("`") and "`: " in line else line
