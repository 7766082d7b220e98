"""Tools by themselves: what is wrong with one, and what a model would be sent for one call of it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.limits import bounded
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
from virc.solving.trying import tool_files
from virc.systems.registry import System
from virc.tools import registry as tools

_SIZE = (1024, 768)
_SECONDS = 60.0
"""Time limit of a check, in addition to what the tool itself may take."""


class Tried(msgspec.Struct, frozen=True):
    reply: str
    call: reading.ReadCall
    sent: tuple[reading.Sent, ...]
    images: tuple[Image.Image, ...]
    seconds: float


def check(name: str, system: System | None = None) -> str | None:
    """Load a tool and try a call of it on a blank picture; returns why no call was carried out, None: one was."""
    seconds = _SECONDS
    if (file := tool_files.check_file(name, system)) and file.suffix == ".yaml":
        seconds += described.read(file).seconds
    try:
        return within(time.monotonic() + seconds, lambda _: _checked(name, system))
    except LateError:
        fault = f"the tool {name} is not done within {seconds:g} seconds"
        raise ConfigError(fault, f"virc tools try {name} IMAGE, which has no limit") from None


def _checked(name: str, system: System | None) -> str | None:
    name, protocol, grid = _offered(name, system, None)
    reasons = []
    for text in reading.examples([name], protocol, _SIZE, grid):
        with of_servers(name):
            (reply,) = reading.read([text], protocol, _SIZE, grid)
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
    with of_servers(name):
        unit = reading.feed(session, reply)
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
def of_servers(name: str) -> Iterator[None]:
    """Raise ConfigError if the server of a tool fails a call in here, which for a model is a text."""
    with failures.noted() as failed:
        yield
    if failed:
        raise ConfigError(f"the server of the tool {name} fails: {failed[0]}")


def _offered(name: str, system: System | None, coordinates: Coordinates | None) -> tuple[str, Protocol, Grid]:
    tool_files.check_name(name, system)
    (name,) = tools.load([name], system.file.parent if system else None)
    if fault := bounded.schema_fault(tools.get(name).SCHEMA["function"].get("parameters", {})):
        raise ConfigError(f"the parameters in the SCHEMA of the tool {name} are no JSON schema: {fault}")
    tools.check_ready([name])
    unit = coordinates or "pixel"
    if system is None:
        return name, own_protocol(tools.schemas([name], unit), unit), QWEN2
    protocol = of_system(system).protocol
    if coordinates:
        protocol = msgspec.structs.replace(protocol, coordinates=coordinates)
    return name, offering(protocol, [name]), reading.grid_of(system)


def _example(name: str, protocol: Protocol, grid: Grid, size: tuple[int, int]) -> str | None:
    with suppress(ConfigError):
        for text in reading.examples([name], protocol, size, grid):
            (call,) = parse(text, protocol.grammar).calls
            return json.dumps(call.arguments)
    return None
