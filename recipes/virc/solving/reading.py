"""What a model is sent by a chat protocol, and replies that call its tools: without a model, on a blank picture."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from PIL import Image

from virc.families import registry as families
from virc.reasoning.bodies import BOX, INDEX, POINTS
from virc.reasoning.calls import Size, Tool, view_of
from virc.reasoning.checking import as_written, check_call, properties
from virc.reasoning.coordinates import sides_of, written_as
from virc.reasoning.history import as_shown_on, input_grid
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import PICTURES, Protocol
from virc.reasoning.resize import QWEN2, Grid, smart_resize
from virc.reasoning.session import Session
from virc.reasoning.trace import Message
from virc.reasoning.writing import written
from virc.systems import speech, texts
from virc.systems.registry import System
from virc.tools import registry as tools

_GREY = (128, 128, 128)
_MAX_ITEMS = 16
_MIDDLE = (0.25, 0.25, 0.75, 0.75)
"""The box of example calls: left, top, right, bottom as shares of the sides of an image."""
QUESTION = "{question}"
"""What stands for the question in the turns that would be sent."""


class Sent(msgspec.Struct, frozen=True):
    """A turn that a model is sent: its role, and its text, in which <image N: W x H> stands for an image."""

    role: str
    text: str


def blank_session(protocol: Protocol, size: Size, grid: Grid) -> Session:
    """A session about a grey picture of (width, height) px, in which `QUESTION` stands for the question."""
    return Session(protocol, QUESTION, [Image.new("RGB", size, _GREY)], grid, tools=tools.known())


def opening(protocol: Protocol, size: Size, grid: Grid = QWEN2) -> list[Sent]:
    session = blank_session(protocol, size, grid)
    return [sent_turn(each, session) for each in session.trace().messages]


def told(system: System, size: Size) -> dict[str, Any]:
    """What a model of a system is told of a picture, a call that it may write, and its limits.

    In our own words where texts of its authors are not on this machine. All are None if the words come with the weights
    or from a pipeline, or if tools of its own would have to be loaded.
    """
    from virc.models.chat_protocol import of_system

    none: dict[str, Any] = dict.fromkeys(("limits", "sent", "example_call"))
    is_elsewhere = (system.protocol_source or system.pipeline) and not system.worded
    if is_elsewhere or not all(map(tools.known_here, system.offered)):
        return none
    if all(each["here"] for each in texts.sources(system.file.parent)):
        protocol = of_system(system)
    else:
        protocol = speech.worded_by(system, own_words=True) or speech.ours(system)
    grid = families.of_system(system).grid
    shown = {"limits": limits(protocol, grid), "sent": opening(protocol, size, grid)}
    return {**shown, "example_call": example(protocol.tools, protocol, size, grid)}


def example(names: Iterable[str], protocol: Protocol, size: Size, grid: Grid = QWEN2) -> str | None:
    """A reply that calls a tool of these and is read; None if the chat protocol has none, or its arguments cannot be
    guessed from its schema. No tool is run for it.
    """
    view = blank_session(protocol, size, grid).view
    for text in examples(names, protocol, size, grid):
        (call,) = parse(text, protocol.grammar).calls
        with suppress(Exception):  # whatever the file of a tool raises
            check_call(tools.get(call.name), call.arguments, view)
            return text
    return None


def examples(names: Iterable[str], protocol: Protocol, size: Size, grid: Grid = QWEN2) -> Iterator[str]:
    for name in names:
        for form in protocol.grammar.calls:
            call = ToolText(name, {**_arguments(tools.get(name), protocol, size, grid), **form.given})
            with suppress(FormatError):
                yield written(Turn("...", (call,)), protocol.grammar)


def _arguments(tool: Tool, protocol: Protocol, size: Size, grid: Grid) -> dict[str, Any]:
    """The arguments that a tool needs, as its schema allows, with a box around the middle of image 0."""
    shown = smart_resize(*size, input_grid(protocol, grid))
    sides = sides_of(shown, protocol.coordinates, size) * 2
    corners = [side * share for side, share in zip(sides, _MIDDLE, strict=True)]
    box = [side if protocol.coordinates == "unit" else round(side) for side in written_as(corners, protocol.box)]
    needed = {INDEX, *tool.SCHEMA["function"].get("parameters", {}).get("required", ())}
    values = {name: _value(each) for name, each in properties(tool).items() if name in needed}
    known: dict[str, Any] = {BOX: box, POINTS: [box[:2], box[2:]], INDEX: 0}
    guessed = {name: known.get(name, value) for name, value in values.items()}
    return as_written(tool, guessed, view_of(protocol, [shown], [size]))


def _value(schema: Any) -> Any:
    """A value that a JSON schema allows, as far as its usual words say it; a schema may be `true`, too."""
    if not isinstance(schema, Mapping):
        return "..."
    choices, kind, minimum = schema.get("enum"), schema.get("type"), schema.get("minimum", 1)
    if isinstance(choices, list) and choices:
        return choices[0]
    if kind == "array":
        count = schema.get("minItems", 1)
        return [_value(schema.get("items", {}))] * (min(count, _MAX_ITEMS) if isinstance(count, int) else 1)
    values: dict[str, Any] = {"integer": minimum, "number": schema.get("minimum", 0.5), "boolean": True, "object": {}}
    return values.get(kind, "...") if isinstance(kind, str) else "..."


def limits(protocol: Protocol, grid: Grid = QWEN2) -> dict[str, Any]:
    resolved = as_shown_on(msgspec.structs.replace(protocol, crops="file"), grid)
    pixels = {"input_pixels": resolved.input_pixels, "crop_pixels": resolved.crop_pixels}
    pictures = {name: getattr(protocol, name) for name in PICTURES if name not in (*pixels, "images")}
    replies = {"most_calls": protocol.grammar.most_calls, "repeat_limit": protocol.repeat_limit}
    return {**pixels, **pictures, **replies, "errors": protocol.errors, "results": protocol.results}


def sent_turn(message: Message, session: Session) -> Sent:
    parts = []
    for part in message.parts():
        width, height = session.history.sizes[part] if isinstance(part, int) else (0, 0)
        parts.append(f"<image {part}: {width} x {height}>" if isinstance(part, int) else part)
    return Sent(message.role, "".join(parts))
