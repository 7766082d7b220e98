"""The chat protocol of conversations in the form of ViRC and our own, from the rows that show it first.

An image is announced as `Image 0: 336 x 252.`; `Question: ` and a blank line stand around the question. All turns
are verified. Rows of another form have their chat protocol next to them, in a file.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.text import plain
from virc.data.protocol.templates import read_after, read_first
from virc.data.rows.boxes import units_of_boxes
from virc.data.rows.record import MARK, Record, images_of, inputs_of, system_of
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.images import SQUARE
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import QUESTION, Coordinates, Protocol
from virc.tools import registry as tools

_LINE = "Image {index}: {width} x {height}."
_ANNOUNCED = re.compile(r"Image [0-9]{1,9}: [0-9]{1,9} x [0-9]{1,9}\.")
_TOOLS_BLOCK = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_NAME = re.compile(r'"name": *"([^"]*)"')
_UNITS: dict[Coordinates, re.Pattern[str]] = {
    "pixel": re.compile(r"pixel|\bpx\b|absolute", re.IGNORECASE),
    "permille": re.compile(r"per ?mille|thousandth|‰|normali[sz]ed|relative|\b0\D{1,5}(?:999|1000)\b", re.IGNORECASE),
}


class FoundProtocol(NamedTuple):
    """A chat protocol, whether rows show the unit of its boxes, and which of its turns they do not show."""

    protocol: Protocol
    unit_is_shown: bool
    unshown: tuple[str, ...]


def study(
    records: Iterable[tuple[int, Record]], unit: Coordinates | None = None, needs_system: bool = True
) -> FoundProtocol:
    """Find the chat protocol of these numbered records, without their image files.

    Args:
        unit: of boxes, where the caller knows it.
        needs_system: refuse a row that was saved without its system message; else its tools are the default ones.

    Raises:
        DataError: there is no row, or one does not have the chat protocol of those before it.
    """
    protocol, fits, inputs = Protocol("", "", _LINE, "", ""), Counter[tuple[bool, bool]](), set[Size]()
    for number, record in records:
        with errors_as(DataError, f"row {number}", caught=(DataError, FormatError, ToolError)):
            protocol, sizes = _with_turns(protocol, record, needs_system)
        fits.update(units_of_boxes(record, sizes))
        inputs.update(sizes[at] for at in inputs_of(record))
    if not protocol.first:
        raise DataError("there are no rows to find a chat protocol in")
    unshown = tuple(kind for kind in ("after_image", "after_scale") if not getattr(protocol, kind))
    texts = dict.fromkeys(unshown, protocol.after_image or protocol.after_scale or _LINE)
    unit = unit or unit_named(protocol.system)
    by_boxes: Coordinates = "permille" if fits[False, True] > fits[True, False] else "pixel"
    images = "square_1000" if inputs == {SQUARE} else "smart"
    protocol = msgspec.structs.replace(protocol, **texts, coordinates=unit or by_boxes, images=images)
    return FoundProtocol(protocol, unit is not None or fits[False, True] != fits[True, False], unshown)


def unit_named(system: str) -> Coordinates | None:
    """Unit of boxes that a system message names; None if it names none or several."""
    schemas = "\n".join(line for line in system.splitlines() if "bbox_2d" in line)  # one a line, as models list them
    units = [unit for unit, pattern in _UNITS.items() if pattern.search(schemas)]
    return units[0] if len(units) == 1 else None


def _offered_tools(system: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_NAME.findall("\n".join(_TOOLS_BLOCK.findall(system)))))
    unknown = sorted(set(names) - set(tools.known()))
    if unknown or not names:
        lacks = f"offers the tool {plain(unknown[0], 40)}, which does not exist" if names else "lists no tools"
        raise DataError(f"its system message {lacks}")
    return names


def _with_turns(protocol: Protocol, record: Record, needs_system: bool) -> tuple[Protocol, list[Size]]:
    """The chat protocol with the turns that this record is the first to show; the sizes that it announces, in px."""
    system = system_of(record)
    start = int(bool(record.messages) and record.messages[0].role == "system")
    messages, images = record.messages[start:], images_of(record)[start:]
    if needs_system and not start:
        raise DataError("it has no system message" if messages else "it has no conversation")
    if not messages or any(each.role != ("user", "assistant")[at % 2] for at, each in enumerate(messages)):
        raise DataError("its turns do not alternate between user and assistant")
    first = messages[0].content.removeprefix(MARK * len(images[0]))
    if not protocol.first:
        offered = _offered_tools(system) if system else tools.DEFAULT
        _, blank, instruction = first.rpartition("\n\n")
        template = "{images}\nQuestion: " + QUESTION + (blank and blank + instruction)
        protocol = msgspec.structs.replace(protocol, system=system, tools=offered, first=template)
    read = read_first(first, protocol, len(images[0]))
    if system != protocol.system or not images[0] or read is None:
        part = "first user turn" if system == protocol.system else "system message"
        raise DataError(f"its {part} is not that of the chat protocol, which begins {protocol.first[:80]!r}")
    question, sizes = read
    for at in range(2, len(messages), 2):
        call = parse(messages[at - 1].content).tool
        if call is None or len(images[at]) != 1:
            raise DataError(f"message {start + at + 1} does not show the one image of a tool's result")
        kind, index, text = tools.get(call.name).TEMPLATE, images[at][0], messages[at].content.removeprefix(MARK)
        if not getattr(protocol, kind):
            template = _LINE + _ANNOUNCED.sub("", text, count=1)
            template = template.replace(question, QUESTION) if kind == "after_scale" and question else template
            protocol = msgspec.structs.replace(protocol, **{kind: template})
        size = read_after(text, getattr(protocol, kind), index, question)
        if size is None:
            raise DataError(f"the turn that shows image {index} is not {getattr(protocol, kind)!r}")
        sizes.append(size)
    return protocol, sizes
