"""Visual tools, one file each, with the members of `reasoning.calls.Tool`. Adding a tool is adding a file.

`check` is the one check for inference, reward and data: what it tolerates it names as a deviation, and each
caller states which deviations it accepts.

A custom tool is such a file next to the YAML of a system that names it, in a folder of `VIRC_PATH`, or in an
installed package (`core.plugins`); it is loaded where a system, `--tools` or a chat protocol names it, and offered to
models whose chat protocol has it. Where its file is YAML, a server carries its calls out (`virc.remote`).
"""

import ast
import importlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from virc.core import entry_points, plugins
from virc.core.errors import ConfigError
from virc.core.text import nearest, plain
from virc.reasoning.bodies import ToolText
from virc.reasoning.calls import Checked, Tool, View, find_tool
from virc.reasoning.checking import check_call
from virc.reasoning.protocol import Coordinates

_UNITS: Mapping[Coordinates, str] = {
    "pixel": "pixels of that image as shown",
    "permille": "thousandths of that image's sides, 0 to 999",
    "thousand": "thousandths of that image's sides, 0 to 1000",
    "unit": "fractions of that image's sides, 0 to 1",
    "original": "pixels of that image's file",
}

_WHOLE, _ANY = ('"items": {"type": "integer"}', '"items": {"type": "number"}')  # of boxes; fractions are not whole

CODE = "code"
"""Folder of a run, and of a model merged from it, with copies of the user's own files; nothing loads them unasked."""

DEFAULT = ("crop_image", "display_image", "scale_image")
"""Those of ViRC, which a chat protocol offers where nobody names any."""

SUFFIXES = (".py", ".yaml")
"""Of the files of custom tools; where a folder has both of a name, the first is taken."""

_PACKAGE = "virc.tools"
_GROUP: entry_points.Group = "virc.tools"
_TURNS = ("after_image", "after_scale")
_CUSTOM: dict[str, Tool] = {}
_FILES: dict[str, Path] = {}  # of custom tools, by their names


@cache
def discover() -> Mapping[str, Tool]:
    """Every tool in this folder, and of the extras that are installed, by name."""
    modules = [importlib.import_module(module) for module in plugins.built_in(_PACKAGE, _GROUP).values()]
    return {module.NAME: cast(Tool, module) for module in sorted(modules, key=lambda module: str(module.NAME))}


def known() -> Mapping[str, Tool]:
    """Every tool that can be used in this process: those of this folder, and those that were loaded."""
    return {**discover(), **_CUSTOM}


def near(name: str) -> str | None:
    """The tool whose name is similar to a name, or contains it; None: there is none."""
    return nearest(name, known()) or next((each for each in known() if name in each), None)


def offered(names: Collection[str]) -> Mapping[str, Tool]:
    """Those of these names that can be used in this process."""
    return {name: tool for name, tool in known().items() if name in names}


class ListedTool(msgspec.Struct, frozen=True):
    """A tool as `virc tools ls` prints it."""

    name: str
    kind: Literal["built in", "of a system", "Python file", "HTTP", "MCP"]
    about: str
    file: str | None = None


def listed(beside: Path | None = None) -> Iterator[ListedTool]:
    """The built-in tools, those of published systems, and those in the user's folders and packages; none is loaded."""
    from virc.remote import described

    for name, tool in sorted(discover().items()):
        yield ListedTool(name, "built in", _about(tool.__doc__))
    for name, file in sorted(plugins.of_systems("tools").items()):
        yield ListedTool(name, "of a system", _about_code(file.read_bytes()), str(file))
    folders = plugins.folders(beside)
    files = [file for folder in folders for suffix in SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    for file in (*files, *plugins.installed(_GROUP).values()):
        with suppress(ConfigError, SyntaxError, ValueError, OSError):  # of no tool; `virc tools check` names the fault
            if file.suffix == ".yaml":
                read = described.read_described(file)
                kind: Literal["HTTP", "MCP"] = "HTTP" if read.http else "MCP"
                yield ListedTool(read.name or file.stem, kind, _about(read.description), str(file))
            elif {b"NAME", b"SCHEMA"} <= {*(code := file.read_bytes()).replace(b",", b" ").split()}:
                yield ListedTool(file.stem, "Python file", _about_code(code), str(file))


def _about_code(code: bytes) -> str:
    return _about(ast.get_docstring(ast.parse(code)))


def _about(docstring: str | None) -> str:
    """The first sentence, without the tool's name before it."""
    paragraph = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    line = re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph, maxsplit=1)[0]
    return line.partition("`: ")[2] if line.startswith("`") and "`: " in line else line


def known_here(name: str) -> bool:
    """Whether a tool is of this package or of a published system, so that no code of others is loaded for it."""
    return name in discover() or name in plugins.of_systems("tools")


def cuts(name: str) -> bool:
    """Whether a tool cuts a box out of an image; a conversion may put one such tool in place of another."""
    return getattr(known().get(name), "CUTS", False)


def load(names: Iterable[str], beside: Path | None = None, of_chat_protocol: bool = False) -> list[str]:
    """Load the tools of these names that are none of this folder.

    Args:
        names: of tools, or of their files.
        beside: folder of the system's YAML, where files may lie.
        of_chat_protocol: they stand in a chat protocol, which may come from anywhere: no path is followed, and a name
            of which there is no file is passed over.

    Returns:
        The tools' own names, in that order.

    Raises:
        ConfigError: there is no such tool, or its file is none.
    """
    found = []
    for name in names:
        file = None if of_chat_protocol and plugins.is_path(name) else file_of(name, beside)
        if name in known():
            found.append(name)
        elif file:
            tool = _checked(_read(file), file)
            _CUSTOM[tool.NAME] = tool
            if file not in plugins.of_systems("tools").values():
                _FILES[tool.NAME] = file
            found.append(tool.NAME)
        elif not of_chat_protocol:
            if plugins.is_path(name):
                raise ConfigError(f"there is no file {name}")
            otherwise = f"a file {name}.py or {name}.yaml next to the system's YAML or in {plugins.SEARCH_PATH}"
            entry_points.check_installed(_GROUP, name, "tool")
            meant = near(name)
            raise ConfigError(f"there is no tool {name!r}", f"did you mean {meant!r}?" if meant else otherwise)
    return found


class ToolMissingError(ConfigError):
    """A chat protocol offers a tool whose file is not in the folders where tools are looked for."""


def check_loaded(names: Iterable[str], whose: str, beside: Path | None = None) -> None:
    """Refuse a chat protocol whose tools are not all here: a model that calls the others would only fail.

    Args:
        whose: the chat protocol, in words.
        beside: the folder of the model that has it, where copies of its tools may be.

    Raises:
        ToolMissingError: a tool is not here; the hint says how it would be.
    """
    lacking = next((name for name in names if name not in known()), None)
    if lacking is None:
        return
    called, hint = plain(lacking, 40), f"export {plugins.SEARCH_PATH}=DIR, the folder that has its file"
    if lacking.isidentifier():
        hint = f"export {plugins.SEARCH_PATH}=DIR, the folder that has {called}.py"
        if beside and (copy := plugins.file_in([beside / CODE], called, SUFFIXES)):
            hint = f"export {plugins.SEARCH_PATH}={(beside / CODE).absolute()}, if you trust the {copy.name} in it"
    raise ToolMissingError(f"{whose} offers the tool {called!r}, and there is none of that name", hint)


def check_ready(names: Iterable[str]) -> None:
    """Refuse tools that cannot be used on this machine, before a model is asked. Raises SetupError: what is missing."""
    for name in names:
        if ready := getattr(known().get(name), "ready", None):
            ready()


def own_files(names: Iterable[str]) -> dict[str, Path]:
    """The files of the user's own among loaded tools of these names, by the names of their copies."""
    return {f"{name}{_FILES[name].suffix}": _FILES[name].resolve() for name in names if name in _FILES}


def sources(names: Iterable[str]) -> tuple[str, ...]:
    """What `load` takes in another process for those of these tools that are here: their files, or their names."""
    return tuple(str(_FILES.get(name, name)) for name in names if name in known())


def source(name: str, beside: Path | None = None) -> str:
    """What `load` takes in another process for a tool: the file of a user's own, else its name. Nothing is loaded."""
    return name if known_here(name) else str(file_of(name, beside) or name)


def file_of(name: str, beside: Path | None = None) -> Path | None:
    """The file of a tool of one's own, by its name or path; None where there is none. Nothing is loaded for it."""
    if name in discover():
        return None
    of_user = plugins.custom(name, beside, _GROUP, SUFFIXES)
    published = plugins.of_systems("tools").get(name)
    if of_user and published:
        raise ConfigError(f"{of_user} has the name of a tool of virc, {name!r}", "give it another name")
    return of_user or published


def get(name: str, offered: Collection[str] | None = None) -> Tool:
    """The tool of that name, of those offered (None: of all); raises ToolError naming them."""
    return find_tool(known(), name, offered)


def checked(tool: ToolText, view: View, offered: Collection[str] | None = None) -> Checked:
    """A written call as it is carried out, by a tool of those offered (None: of all); raises ToolError."""
    return check_call(get(tool.name, offered), tool.arguments, view)


def schemas(names: Iterable[str], coordinates: Coordinates = "pixel") -> Sequence[Mapping[str, Any]]:
    """The function schemas of the named tools, boxes described in the given coordinates."""
    written = (json.dumps(get(name).SCHEMA).replace("{unit}", _UNITS[coordinates]) for name in names)
    return [json.loads(text.replace(_WHOLE, _ANY) if coordinates == "unit" else text) for text in written]


def _read(file: Path) -> object:
    if file.suffix != ".yaml":
        return plugins.loaded(file)
    from virc.remote import tool  # what reaches servers is loaded where a tool needs it

    return tool.read_tool(file)


def _checked(module: object, file: Path) -> Tool:
    name, schema = getattr(module, "NAME", None), getattr(module, "SCHEMA", None)
    function = schema.get("function") if isinstance(schema, dict) else None
    is_missing = {
        "NAME, the one word that the model writes": not isinstance(name, str) or not name.isidentifier(),
        "SCHEMA, the schema of a function of that name": not isinstance(function, dict) or function.get("name") != name,
        f"TEMPLATE that is {' or '.join(_TURNS)}, for its images (a text has after_text anyway)": (
            getattr(module, "TEMPLATE", None) not in _TURNS
        ),
        "check(arguments, view) that is a function": not callable(getattr(module, "check", callable)),
        "apply(call, source)": not any(callable(getattr(module, each, None)) for each in ("apply", "apply_to_all")),
    }
    taken = isinstance(name, str) and (name in discover() or plugins.of_systems("tools").get(name, file) != file)
    if taken:
        raise ConfigError(f"{file} has the NAME {name!r}, which is that of a tool of virc", "give it another NAME")
    lacking = [member for member, missing in is_missing.items() if missing]
    if lacking:
        raise ConfigError(f"{file} is not a tool: it has no {'; no '.join(lacking)}")
    return cast(Tool, module)
