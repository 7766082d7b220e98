"""Tools by themselves: which there are, what is wrong with one, and what a model would be sent for one call of it."""

import ast
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core import plugins
from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.text import clause
from virc.core.timeouts import LateError, within
from virc.models.chat_protocol import of_system, offering
from virc.reasoning.images import OpenedImage
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import Coordinates, Protocol, own_protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Rejected, Session
from virc.reasoning.writing import written
from virc.remote import described, failures
from virc.solving import reading
from virc.systems import registry as systems
from virc.tools import registry as tools

Kind = Literal["built in", "Python file", "HTTP", "MCP"]
_SIZE = (1024, 768)
_SECONDS = 60.0
"""Time limit of a check, beside what the tool itself may take."""


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


class Tried(msgspec.Struct, frozen=True):
    """One call that was carried out.

    Args:
        reply: the call as a model of this chat protocol would write it.
        call: as it was read.
        sent: the turns that the model would get.
        images: that the tool made, as the model would see them.
        seconds: that the call took.
    """

    reply: str
    call: reading.ReadCall
    sent: tuple[reading.Sent, ...]
    images: tuple[Image.Image, ...]
    seconds: float


def listed(system: str | None = None) -> list[Listed]:
    """The built-in tools, then those of folders in `VIRC_PATH`, beside a system and of installed packages.

    Files are read, and none is run.

    Raises:
        ConfigError: there is no such system.
    """
    built_in = [Listed(name, "built in", _about(tool.__doc__)) for name, tool in sorted(tools.discover().items())]
    folders = plugins.folders(_beside(system))
    files = [file for folder in folders for suffix in tools.SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    found: dict[str, Listed] = {}
    for file in (*files, *plugins.installed("virc.tools").values()):
        tool = _declared(file) if file.suffix == ".py" else _described(file)
        if tool and tool.name not in tools.discover():
            found.setdefault(tool.name, tool)
    return [*built_in, *found.values()]


def check(name: str, system: str | None = None) -> str | None:
    """Load a tool and carry out a call of it that its schema tells, on a blank picture.

    Args:
        name: of the tool, or its file.
        system: where its file may be, beside the folders of `VIRC_PATH`.

    Returns:
        Why no call was carried out; None: one was.

    Raises:
        ConfigError: there is no such tool, its file is none, or it or its server fails or takes too long.
        SetupError: it cannot be used on this machine, or its server cannot be reached.
    """
    seconds = _SECONDS
    if (file := tools.file_of(name, _beside(system))) and file.suffix == ".yaml":
        seconds += described.read(file).seconds
    try:
        return within(time.monotonic() + seconds, lambda _: _checked(name, system))
    except LateError:
        fault = f"the tool {name} is not done within {seconds:g} seconds"
        raise ConfigError(fault, f"virc tools try {name} IMAGE, which has no limit") from None


def _checked(name: str, system: str | None) -> str | None:
    name, protocol, grid = _offered(name, system, None)
    reasons = []
    for text in reading.examples([name], protocol, _SIZE, grid):
        with _of_servers(name):
            (reply,) = reading.read([text], protocol, _SIZE, grid)
        reason = reply.fault or next((call.reason for call in reply.calls if call.reason), None)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0] if reasons else "its arguments cannot be guessed from its schema"


def attempt(
    name: str, picture: OpenedImage, arguments: Mapping[str, Any], system: str | None, coordinates: Coordinates | None
) -> Tried:
    """Carry out one call of a tool on a picture, as if a model had written it.

    Args:
        name: of the tool, or its file.
        arguments: of the call, as the model writes them.
        system: whose chat protocol is used; None: this project's own.
        coordinates: the unit of boxes and points; None: that of the chat protocol.

    Raises:
        ConfigError: there is no such tool, or it or its server fails.
        DataError: the call cannot be carried out; the hint has one that can.
        SetupError: the tool cannot be used on this machine.
    """
    name, protocol, grid = _offered(name, system, coordinates)
    try:
        reply = written(Turn("...", (ToolText(name, dict(arguments)),)), protocol.grammar)
    except FormatError as error:
        raise UsageError(f"the chat protocol of {system or 'virc'} cannot write this call: {clause(error)}") from None
    session = Session(protocol, reading.QUESTION, [picture], grid, tools=tools.known())
    sizes, before = session.history.sizes, len(session.trace().messages)
    begun = time.perf_counter()
    with _of_servers(name):
        unit = reading.fed(session, reply)
    seconds = time.perf_counter() - begun
    reason = unit.reason if isinstance(unit, Rejected) else next((each.reason for each in unit.results), None)
    if isinstance(unit, Rejected) or reason:
        example = _example(name, protocol, grid, picture.size)
        raise DataError(f"the call cannot be carried out: {reason}", example and f"--arguments '{example}'")
    trace = session.trace()
    sent = tuple(reading.sent(each, session) for each in trace.messages[before + 1 :])
    made = tuple(shown.pixels for shown in session.images[len(sizes) :])
    (call,) = (reading.read_call(each, sizes, trace.images) for each in unit.results)
    return Tried(reply, call, sent, made, seconds)


@contextmanager
def _of_servers(name: str) -> Iterator[None]:
    """Raise ConfigError where the server of a tool fails a call in here, which for a model is a text."""
    with failures.noted() as failed:
        yield
    if failed:
        raise ConfigError(f"the server of the tool {name} fails: {failed[0]}")


def _beside(system: str | None) -> Path | None:
    return systems.get(system).file.parent if system else None


def _offered(name: str, system: str | None, coordinates: Coordinates | None) -> tuple[str, Protocol, Grid]:
    """The name of a loaded tool, and a chat protocol that offers it."""
    known = systems.get(system) if system else None
    (name,) = tools.load([name], known.file.parent if known else None)
    tools.check_ready([name])
    unit = coordinates or "pixel"
    if known is None:
        return name, own_protocol(tools.schemas([name], unit), unit), QWEN2
    protocol = of_system(known).protocol
    if coordinates:
        protocol = msgspec.structs.replace(protocol, coordinates=coordinates)
    return name, offering(protocol, [name]), reading.grid_of(known)


def _example(name: str, protocol: Protocol, grid: Grid, size: tuple[int, int]) -> str | None:
    """The arguments of a call that its schema allows."""
    with suppress(ConfigError):
        for text in reading.examples([name], protocol, size, grid):
            (call,) = parse(text, protocol.grammar).calls
            return json.dumps(call.arguments)
    return None


def _declared(file: Path) -> Listed | None:
    """The tool that a file of Python is by its assignments, without running it; None where it is none."""
    try:
        parsed = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    assigned = dict(pair for each in parsed.body for pair in _assigned(each))
    name = assigned.get("NAME")
    if "SCHEMA" not in assigned or not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return Listed(name.value, "Python file", _about(ast.get_docstring(parsed)), file)


def _described(file: Path) -> Listed | None:
    """The remote tool that a YAML file describes; None where it is something else, such as a system."""
    with suppress(ConfigError):
        found = described.read(file)
        kind: Kind = "HTTP" if found.http else "MCP"
        return Listed(found.name or file.stem, kind, _about(found.description), file)
    return None


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement gives a value."""
    targets: list[ast.expr]
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value:
        targets, value = [statement.target], statement.value
    else:
        return
    yield from ((each.id, value) for each in targets if isinstance(each, ast.Name))


def _about(docstring: str | None) -> str:
    """The first line of a tool's docstring, without the name that it may begin with."""
    line = (docstring or "").strip().partition("\n")[0]
    return line.partition("`: ")[2] if line.startswith("`") and "`: " in line else line
