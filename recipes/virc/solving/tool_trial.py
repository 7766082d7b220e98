"""Tools by themselves: which there are, what is wrong with one, and what a model would be sent for a call of it."""

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
from virc.core.limits import bounded
from virc.core.text import clause
from virc.models.chat_protocol import of_system, offering
from virc.reasoning.images import OpenedImage
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import Coordinates, Protocol, own_protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Rejected, Session
from virc.reasoning.writing import written
from virc.remote import described, failures
from virc.solving import reading
from virc.systems.registry import System
from virc.tools import registry as tools

_SIZE = (1024, 768)


class Listed(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["built in", "of a system", "Python file", "HTTP", "MCP"]
    about: str
    file: Path | None = None


class Tried(msgspec.Struct, frozen=True):
    reply: str
    call: reading.ReadCall
    sent: tuple[reading.Sent, ...]
    images: tuple[Image.Image, ...]
    seconds: float


def listed(system: System | None = None) -> Iterator[Listed]:
    """The built-in tools, those of published systems, and those in the user's folders and packages; none is loaded."""
    for name, tool in sorted(tools.discover().items()):
        yield Listed(name, "built in", _about(tool.__doc__))
    for name, file in sorted(plugins.of_systems("tools").items()):
        yield Listed(name, "of a system", _about(ast.get_docstring(ast.parse(file.read_bytes()))), file)
    folders = plugins.folders(system.file.parent if system else None)
    files = [file for folder in folders for suffix in tools.SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    for file in (*files, *plugins.installed("virc.tools").values()):
        with suppress(ConfigError, SyntaxError, ValueError, OSError):  # of no tool; `check` names what is wrong
            if file.suffix == ".yaml":
                read = described.read_described(file)
                yield Listed(read.name or file.stem, "HTTP" if read.http else "MCP", _about(read.description), file)
            elif {b"NAME", b"SCHEMA"} <= {*file.read_bytes().replace(b",", b" ").split()}:
                yield Listed(file.stem, "Python file", _about(ast.get_docstring(ast.parse(file.read_bytes()))), file)


def _about(docstring: str | None) -> str:
    line = (docstring or "").strip().partition("\n")[0]
    return line.partition("`: ")[2] if line.startswith("`") and "`: " in line else line


def check_tool(name: str, system: System | None = None) -> str | None:
    """Load a tool and try a call of it on a blank picture; returns why no call was carried out, None: one was."""
    name, protocol, grid = _offered(name, system, None)
    reasons = []
    for text in reading.examples([name], protocol, _SIZE, grid):
        with _of_servers(name):
            (reply,) = reading.read_replies([text], protocol, _SIZE, grid)
        reason = reply.fault or next((call.reason for call in reply.calls if call.reason), None)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0] if reasons else "its arguments cannot be guessed from its schema"


def attempt(
    name: str,
    picture: OpenedImage,
    arguments: Mapping[str, Any],
    system: System | None,
    coordinates: Coordinates | None,
) -> Tried:
    name, protocol, grid = _offered(name, system, coordinates)
    try:
        reply = written(Turn("...", (ToolText(name, dict(arguments)),)), protocol.grammar)
    except FormatError as error:
        whose = system.name if system else "virc"
        raise UsageError(f"the chat protocol of {whose} cannot write this call: {clause(error)}") from None
    session = Session(protocol, reading.QUESTION, [picture], grid, tools=tools.known())
    sizes, before = session.history.sizes, len(session.trace().messages)
    begun = time.perf_counter()
    with _of_servers(name):
        unit = reading.feed(session, reply)
    seconds = time.perf_counter() - begun
    reason = unit.reason if isinstance(unit, Rejected) else next((each.reason for each in unit.results), None)
    if isinstance(unit, Rejected) or reason:
        examples = reading.examples([name], protocol, picture.size, grid)
        possible = next((call.arguments for text in examples for call in parse(text, protocol.grammar).calls), None)
        hint = f"--arguments '{json.dumps(possible)}'" if possible else None
        raise DataError(f"the call cannot be carried out: {reason}", hint)
    trace = session.trace()
    sent = tuple(reading.sent(each, session) for each in trace.messages[before + 1 :])
    made = tuple(shown.pixels for shown in session.images[len(sizes) :])
    (call,) = (reading.read_call(each, sizes, trace.images) for each in unit.results)
    return Tried(reply, call, sent, made, seconds)


@contextmanager
def _of_servers(name: str) -> Iterator[None]:
    """Raise ConfigError if the server of a tool fails a call in here, which for a model is a text."""
    with failures.noted() as failed:
        yield
    if failed:
        raise ConfigError(f"the server of the tool {name} fails: {failed[0]}")


def _offered(name: str, system: System | None, coordinates: Coordinates | None) -> tuple[str, Protocol, Grid]:
    (loaded,) = tools.load([name], system.file.parent if system else None)
    file = tools.file_of(name, system.file.parent if system else None)
    if file and file.stem != loaded:
        named = f"its NAME is {loaded!r}, and by that name no command finds {file.name}"
        raise ConfigError(f"{file}: {named}", f"mv {file} {file.with_stem(loaded)}")
    if fault := bounded.schema_fault(tools.get(loaded).SCHEMA["function"].get("parameters", {})):
        raise ConfigError(f"the parameters in the SCHEMA of the tool {loaded} are no JSON schema: {fault}")
    tools.check_ready([loaded])
    unit = coordinates or "pixel"
    if system is None:
        return loaded, own_protocol(tools.schemas([loaded], unit), unit), QWEN2
    protocol = of_system(system).protocol
    if coordinates:
        protocol = msgspec.structs.replace(protocol, coordinates=coordinates)
    return loaded, offering(protocol, [loaded]), reading.grid_of(system)
