"""A tool by itself: what is wrong with it, and what a model would be sent for a call of it."""

import json
import shlex
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.limits import bounded
from virc.core.text import clause
from virc.families import registry as families
from virc.models.chat_protocol import of_system, offering
from virc.reasoning.media import USUAL_MEDIA
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.opening.pictures import opened_all
from virc.reasoning.protocol import Coordinates, Protocol, own_protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Session
from virc.reasoning.writing import written
from virc.remote import failures
from virc.solving import reading
from virc.solving.image_source import all_shown, sources_of, unfolded
from virc.systems.registry import System
from virc.tools import registry as tools
from virc_extras.authoring.reply_reading import ReadCall, read_reply

_SIZE = (1024, 768)
_QUESTION = "What does the picture show?"


class Tried(msgspec.Struct, frozen=True):
    reply: str
    call: ReadCall
    sent: tuple[reading.Sent, ...]
    images: tuple[Image.Image, ...]
    seconds: float


def check_tool(name: str, system: System | None = None) -> str | None:
    """Load a tool and try a call of it on a blank picture; returns why no call was carried out, None: one was."""
    name, protocol, grid = _offered(name, system, None)
    reasons = []
    for reply in reading.examples([name], protocol, _SIZE, grid):
        tried = _carried_out(name, reply, reading.blank_session(protocol, _SIZE, grid))
        if isinstance(tried, Tried):
            return None
        reasons.append(tried)
    return reasons[0] if reasons else "its arguments cannot be guessed from its schema"


def try_call(
    name: str, picture: str, arguments: Mapping[str, Any], system: System | None, coordinates: Coordinates | None
) -> Tried:
    """Carry out a call as if a model wrote it, in the chat protocol of the system, else in that of virc.

    Args:
        picture: the file that the call is about; of a clip or document the usual frames or pages.

    Raises:
        UsageError: the chat protocol cannot write the call.
        ConfigError: the tool or its server fails.
        DataError: the call cannot be carried out; the hint is one that can.
    """
    name, protocol, grid = _offered(name, system, coordinates)
    try:
        reply = written(Turn("...", (ToolText(name, dict(arguments)),)), protocol.grammar)
    except FormatError as error:
        whose = system.name if system else "virc"
        raise UsageError(f"the chat protocol of {whose} cannot write this call: {clause(error)}") from None
    parts = [*unfolded(sources_of([picture]), [picture], USUAL_MEDIA)]
    with opened_all([part.file for part in parts]) as pictures:
        shown = all_shown(pictures, parts, protocol, grid)
        tried = _carried_out(name, reply, Session(protocol, _QUESTION, shown, grid, tools=tools.known()))
    if isinstance(tried, str):
        example = reading.example([name], protocol, shown[0].size, grid)
        possible = parse(example, protocol.grammar).calls[0].arguments if example else None
        hint = f"«--arguments '{json.dumps(possible)}'»" if possible else None
        raise DataError(f"the call cannot be carried out: {tried}", hint)
    return tried


def _carried_out(name: str, reply: str, session: Session) -> Tried | str:
    """What comes of a reply that calls a tool, or why its call is not carried out."""
    given, begun = len(session.images), time.perf_counter()
    with failures.noted() as failed:
        read = read_reply(session, reply)
    seconds = time.perf_counter() - begun
    if failed:  # which for a model is a text
        raise ConfigError(f"the server of the tool {name} fails: {failed[0]}")
    if reason := read.fault or next((call.reason for call in read.calls if call.reason), None):
        return reason
    return Tried(reply, read.calls[0], read.sent, tuple(each.pixels for each in session.images[given:]), seconds)


def _offered(name: str, system: System | None, coordinates: Coordinates | None) -> tuple[str, Protocol, Grid]:
    (loaded,) = tools.load([name], system.file.parent if system else None)
    file = tools.file_of(name, system.file.parent if system else None)
    if file and file.stem != loaded:
        named = f"its NAME is {loaded!r}, and by that name no command finds {file.name}"
        move = shlex.join(["mv", str(file), str(file.with_stem(loaded))])
        raise ConfigError(f"{file}: {named}", f'NAME = "{file.stem}"' if file.with_stem(loaded).exists() else move)
    if fault := bounded.schema_fault(tools.get(loaded).SCHEMA["function"].get("parameters", {})):
        raise ConfigError(f"the parameters in the SCHEMA of the tool {loaded} are no JSON schema: {fault}")
    tools.check_ready([loaded])
    unit = coordinates or "pixel"
    if system is None:
        return loaded, own_protocol(tools.schemas([loaded], unit), unit), QWEN2
    protocol = of_system(system)
    if coordinates:
        protocol = msgspec.structs.replace(protocol, coordinates=coordinates)
    return loaded, offering(protocol, [loaded]), families.of_system(system).grid
