"""Files of tools in folders, read without running any: `found` lists them, `check_file` checks one."""

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
from virc.systems.registry import System
from virc.tools import registry as tools

Kind = Literal["built in", "of a system", "Python file", "HTTP", "MCP"]
_ALLOWED = "letters, digits and _, and no digit first"


class Listed(msgspec.Struct, frozen=True):
    name: str
    kind: Kind
    about: str
    file: Path | None = None


class Faulty(msgspec.Struct, frozen=True):
    """A file, or a folder of `VIRC_PATH`, and why it gives no tool, or one that not all commands find."""

    file: Path
    reason: str
    hint: str | None = None


class Found(msgspec.Struct, frozen=True):
    tools: tuple[Listed, ...]
    faults: tuple[Faulty, ...]


def found(system: System | None = None) -> Found:
    """The built-in tools, those of published systems, then those of folders in `VIRC_PATH`, next to a system and of
    installed packages.
    """
    built_in = [Listed(name, "built in", _about(tool.__doc__)) for name, tool in sorted(tools.discover().items())]
    folders = plugins.folders(_folder(system))
    files = [file for folder in folders for suffix in tools.SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    own: dict[str, Listed] = {}
    absent = f"there is no such folder, and {plugins.SEARCH_PATH} names it"
    faults = [Faulty(each, absent) for each in folders if not is_folder(each)]
    for file in (*files, *plugins.installed("virc.tools").values()):
        tool, fault = _declared(file) if file.suffix == ".py" else _described(file)
        faults += [fault] if fault else []
        if tool and tool.name not in tools.discover():
            own.setdefault(tool.name, tool)
    declared = (_declared(file)[0] for _, file in sorted(plugins.of_systems("tools").items()))
    published = [msgspec.structs.replace(each, kind="of a system") for each in declared if each]
    return Found((*built_in, *published, *own.values()), tuple(faults))


def _folder(system: System | None) -> Path | None:
    return system.file.parent if system else None


def check_file(name: str, system: System | None) -> Path | None:
    """The file of a user's tool; None if the name is that of no file. A ConfigError if it is wrong as it stands."""
    check_name(name, system)
    file = tools.file_of(name, _folder(system))
    if file is None:
        return None
    if file.suffix == ".py" and (fault := _declared(file)[1]):
        raise ConfigError(f"{file}: {fault.reason}", fault.hint)
    if file.suffix == ".yaml" and (fault := misnamed(described.read(file).name or file.stem, file)):
        raise ConfigError(f"{file}: {fault.reason}", fault.hint)
    return file


def check_name(name: str, system: System | None) -> None:
    """Raise ConfigError if a name is of no tool, and either a file has nearly that name, or no tool can have it."""
    if tools.file_of(name, _folder(system)) or name in tools.known():
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


def _declared(file: Path) -> tuple[Listed | None, Faulty | None]:
    """The tool in a Python file, by its NAME and SCHEMA, and what is wrong with it; None twice if it has neither."""
    try:
        parsed = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return None, Faulty(file, f"it is no Python: {plain(error.msg, 100)}, in line {error.lineno}")
    except (OSError, ValueError, RecursionError) as error:
        return None, Faulty(file, f"it cannot be read: {clause(error)}")
    if not parsed.body and file.name != "__init__.py":
        return None, Faulty(file, "it is empty")
    assignments = [each for each in parsed.body if isinstance(each, ast.Assign | ast.AnnAssign)]
    values = {
        name: value
        for each in assignments
        for target in (each.targets if isinstance(each, ast.Assign) else [each.target])
        for name, value in _assigned(target, each.value)
    }
    if not {"NAME", "SCHEMA"} & values.keys():
        return None, None
    value = values.get("NAME")
    name = value.value if isinstance(value, ast.Constant) else file.stem  # a NAME that is computed is not known here
    if not isinstance(name, str):
        return None, Faulty(file, f"its NAME {name!r} is no text")
    return Listed(name, "Python file", _about(ast.get_docstring(parsed)), file), misnamed(name, file)


def _assigned(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    """Each name of an assignment and what it becomes, also of `NAME, TEMPLATE = "rotate", "after_image"`."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(map(ast.unparse, target.elts), value.elts, strict=False)
    else:
        yield ast.unparse(target), value


def _described(file: Path) -> tuple[Listed | None, Faulty | None]:
    try:
        read = described.read(file)
    except ConfigError as error:
        text = file.read_text("utf-8", "replace") if is_file(file) else ""
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


def _about(docstring: str | None) -> str:
    line = (docstring or "").strip().partition("\n")[0]
    return line.partition("`: ")[2] if line.startswith("`") and "`: " in line else line
