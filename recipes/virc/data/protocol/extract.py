"""The chat protocol of a dataset, derived from its conversations and checked against each of them.

`study` splits each record (`_conversation`), reads the tools from the system message (`_offered_tools`), finds the
templates of user turns (`_with_templates`), reads with them the sizes that every turn announces (`_announced_sizes`),
and chooses the unit of boxes (`_unit_of_boxes`).

A turn begins with one image mark for each image. A template covers all text after the last mark, with the line end
after it: a Session shows the images of a turn and then its text, with nothing between them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, count, islice
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.errors import ConfigError, DataError, VircError
from virc.core.files import contents, write_whole
from virc.core.text import clause, did_you_mean, plain
from virc.data.formats import conversation
from virc.data.formats.registry import Source, get
from virc.data.protocol.templates import (
    FirstTurn,
    ToolTurn,
    after_of,
    departure,
    first_of,
    image_line_of,
    question_of,
    read_after,
    read_first,
)
from virc.data.rows.record import MARK, Record, images_of, size_of
from virc.models.chat_protocol import written
from virc.reasoning.calls import Size, ToolError, View
from virc.reasoning.coordinates import resolve_box
from virc.reasoning.images import SQUARE
from virc.reasoning.messages import FormatError, ToolText, parse
from virc.reasoning.protocol import Coordinates, Protocol
from virc.tools import registry as tools

Images = Literal["smart", "square_1000"]
UnitFrom = Literal["caller", "schema", "boxes", "nothing"]

NO_SYSTEM = (
    "no row has a system message: that of the chat protocol is empty, and its tools are those called here and "
    f"the usual ones, {', '.join(tools.DEFAULT)}"
)
"""The note on conversations that were saved without their system message."""

_MAX_SYSTEM_BYTES = 2**20
_SPACE = re.compile(r"\s*")
_TOOLS_BLOCK = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_UNITS: dict[Coordinates, re.Pattern[str]] = {
    "pixel": re.compile(r"pixel|\bpx\b|absolute", re.IGNORECASE),
    "permille": re.compile(r"per ?mille|thousandth|‰|normali[sz]ed|relative|\b0\D{1,5}(?:999|1000)\b", re.IGNORECASE),
}

_MAX_TEXT = 64 * 2**20  # characters of user turns that are kept
_MAX_MEASURED = 8  # rows whose images are read, to distinguish width from height


class Conversation(msgspec.Struct, frozen=True):
    """The parts of a record.

    Args:
        number: of its row, from 1.
        turns: user turns after the first.
        calls: tool calls that can be read, each with the number of images shown before it.
    """

    number: int
    system: str
    first: FirstTurn
    turns: list[ToolTurn]
    calls: list[tuple[ToolText, int]]
    replies: int


class FoundProtocol(msgspec.Struct, frozen=True):
    """A chat protocol, and counts of the rows that it was found in.

    Args:
        units: number of replies in the rows.
        calls: how often each tool was called.
        coordinates_from: source of the unit of boxes: the caller, the tool's `schema`, the `boxes`, or nothing.
        notes: one clause for each part that the rows do not show, with what is used instead.
    """

    protocol: Protocol
    rows: int
    units: int
    calls: dict[str, int]
    coordinates_from: UnitFrom
    notes: tuple[str, ...] = ()

    def as_fields(self) -> dict[str, Any]:
        fields = msgspec.to_builtins(self, str_keys=True)
        return {key: fields[key] for key in ("rows", "units", "calls", "notes", "protocol")}


def study(
    records: Iterable[Record],
    coordinates: Coordinates | None = None,
    images: Images | None = None,
    numbers: Iterable[int] | None = None,
    system: str | None = None,
) -> FoundProtocol:
    """Find the chat protocol of these records, and check that it renders each of their user turns exactly.

    One record is enough if its question is known, or is between `Question:` and the last blank line. Image files are
    not needed.

    Args:
        records: with conversations.
        coordinates: unit of boxes, if the caller knows it.
        images: how inputs are resized, if the caller knows it; else `square_1000` if every input is announced with
            that size, which no other rule produces.
        numbers: row numbers for messages; default: from 1.
        system: the system message of records that were saved without it. Empty: unknown; the tools are those that
            are called and the default ones. None: raise DataError for a record without it.

    Raises:
        DataError: the records have several chat protocols, or a turn does not follow theirs.
    """
    rows = _conversations(records, numbers, system)
    counts = Counter(row.system for row in rows)
    if len(counts) > 1:
        listed = "; ".join(f"{count} rows {plain(text, 60)!r}" for text, count in counts.most_common(5))
        raise DataError(f"the rows hold {len(counts)} system messages: {listed}")
    system = rows[0].system
    calls = Counter(call.name for row in rows for call, _ in row.calls)
    if system:
        offered = _offered_tools(system)
    else:  # schemas are unknown
        offered = dict.fromkeys([*tools.DEFAULT, *(name for name in calls if name in tools.known())], "")
    protocol, notes = _with_templates(rows, Protocol(system, "", "", "", "", tools=tuple(offered)))
    sizes = [_announced_sizes(row, protocol) for row in rows]
    unit, unit_from = _unit_of_boxes(rows, sizes, coordinates, _unit_in_schemas(offered))
    input_sizes = {size for row, row_sizes in zip(rows, sizes, strict=True) for size in row_sizes[: row.first.count]}
    protocol = msgspec.structs.replace(
        protocol, coordinates=unit, images=images or ("square_1000" if input_sizes == {SQUARE} else "smart")
    )
    notes = notes if system else (NO_SYSTEM, *notes)
    return FoundProtocol(protocol, len(rows), sum(row.replies for row in rows), dict(calls), unit_from, notes)


def study_file(
    source: Source,
    most: int = 1000,
    coordinates: Coordinates | None = None,
    images: Images | None = None,
    system: str | None = None,
) -> FoundProtocol:
    file_format = get(source.format)
    if file_format.HOLDS == "problems":
        raise DataError(f"{source.file} holds problems, and no conversation that would show a chat protocol")
    if system is None and source.format == conversation.NAME:
        system = ""
    records = (row.known() for row in islice(file_format.read(source), most))
    return study(records, coordinates, images, system=system)


def read_system_message(file: Path) -> str:
    """A system message from a file, without the line end that editors add. Raises ConfigError: it cannot be read."""
    try:
        text = contents(file, _MAX_SYSTEM_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the system message {file}: {clause(error)}") from error
    return text.removesuffix("\n").removesuffix("\r")


def save(protocol: Protocol, to: Path) -> None:
    try:
        write_whole(to, written(protocol))
    except OSError as error:
        raise VircError(f"cannot write {to}: {clause(error)}") from error


def unit_named(record: Record) -> Coordinates | None:
    """Unit of boxes that the system message of a record names; None if it names none or several."""
    if not record.messages or record.messages[0].role != "system":
        return None
    try:
        return _unit_in_schemas(_offered_tools(record.messages[0].content))
    except DataError:
        return None


def _offered_tools(system: str) -> dict[str, str]:
    """Name of each tool that a system message offers -> its JSON schema, as it is written there."""
    listed = "\n".join(_TOOLS_BLOCK.findall(system)).strip()
    if not listed:
        raise DataError("the system message lists no tools inside <tools></tools>")
    offered = {}
    for schema, text in _json_values(listed):
        function = schema.get("function", schema) if isinstance(schema, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise DataError("a tool of the system message has no name")
        if name not in tools.known():
            hint = did_you_mean(name, tools.known(), f"there are {', '.join(tools.known())}")
            raise DataError(f"the system message offers the tool {plain(name, 40)}, which does not exist", hint)
        offered[name] = text
    return offered


def _json_values(text: str) -> Iterator[tuple[Any, str]]:
    """Each JSON value of a text with white space between them, and how it is written."""
    decoder, start = json.JSONDecoder(), 0
    try:
        while start < len(text):
            value, end = decoder.raw_decode(text, start)
            yield value, text[start:end]
            space = _SPACE.match(text, end)
            start = space.end() if space else end
    except (ValueError, RecursionError) as error:
        raise DataError(f"the tools of the system message are not JSON: {clause(error)}") from None


def _with_templates(rows: Sequence[Conversation], protocol: Protocol) -> tuple[Protocol, tuple[str, ...]]:
    first_turns = [row.first for row in rows]
    image_line = image_line_of(first_turns)
    if image_line is None:
        raise DataError("no first user turn announces its image with its number, width and height")
    first = first_of(first_turns, image_line)
    if first is None:
        sentence = "the first user turns do not show where the question begins and ends"
        raise DataError(sentence, "rows with other questions would show it")
    protocol = msgspec.structs.replace(protocol, first=first, image_line=image_line)
    turns_by_kind: dict[str, list[ToolTurn]] = {"after_image": [], "after_scale": []}
    for row in rows:
        question = question_of(row.first.text, protocol, row.first.count) or ""
        for turn in row.turns:
            turns_by_kind[turn.kind].append(msgspec.structs.replace(turn, question=question))
    templates: dict[str, str] = {}
    for kind, turns in turns_by_kind.items():
        template = after_of(turns, reminds=kind == "after_scale")
        if template:
            templates[kind] = template
        elif turns:
            raise DataError(f"row {turns[0].row}: no turn after a tool announces the image with number and size")
    notes = []
    for kind, tool in (("after_image", "cuts or displays"), ("after_scale", "scales")):
        if kind not in templates:
            other = next(iter(templates), "image_line")
            notes.append(f"no row {tool} an image: {kind} is taken from {other}")
            protocol = msgspec.structs.replace(protocol, **{kind: templates.get(other, protocol.image_line)})
    return msgspec.structs.replace(protocol, **templates), tuple(notes)


def _announced_sizes(row: Conversation, protocol: Protocol) -> list[Size]:
    """Sizes of the row's images in px, as its turns announce them."""
    read = read_first(row.first.text, protocol, row.first.count)
    if read is None:
        lines = "\n".join([protocol.image_line] * row.first.count)
        difference = departure(row.first.text, protocol.first.replace("{images}", lines))
        raise DataError(f"row {row.number}: the first user turn differs from that of most rows: {difference}")
    question, sizes = read
    for turn in row.turns:
        template: str = getattr(protocol, turn.kind)
        size = read_after(turn.text, template, turn.index, question)
        if size is None:
            difference = departure(turn.text, template)
            raise DataError(
                f"row {row.number}: the turn that shows image {turn.index} differs from that of most rows: {difference}"
            )
        sizes.append(size)
    return sizes


def _unit_of_boxes(
    rows: Sequence[Conversation], sizes: Sequence[Sequence[Size]], given: Coordinates | None, named: Coordinates | None
) -> tuple[Coordinates, UnitFrom]:
    """The unit that the caller gave, else that the schemas name, else that more boxes fit; and which of these."""
    fits = _boxes_that_fit(rows, sizes)
    if given:
        return given, "caller"
    if named:
        return named, "schema"
    if fits["pixel"] != fits["permille"]:
        return max(_UNITS, key=lambda unit: fits[unit]), "boxes"
    return "pixel", "nothing"


def _boxes_that_fit(rows: Sequence[Conversation], sizes: Sequence[Sequence[Size]]) -> Counter[Coordinates]:
    """Unit -> how many boxes of calls are inside of their image, if their numbers are of this unit."""
    counts: Counter[Coordinates] = Counter()
    for row, row_sizes in zip(rows, sizes, strict=True):
        for call, images_before in row.calls:
            index = call.arguments.get("image_index")
            if "bbox_2d" not in call.arguments or type(index) is not int or not 0 <= index < images_before:
                continue
            for unit in _UNITS:
                with suppress(ToolError):
                    _, deviations = resolve_box(call.arguments["bbox_2d"], View([row_sizes[index]], unit), 0)
                    counts[unit] += not deviations
    return counts


def _unit_in_schemas(offered: dict[str, str]) -> Coordinates | None:
    schemas = "\n".join(schema for schema in offered.values() if "bbox_2d" in schema)
    units = [unit for unit, pattern in _UNITS.items() if pattern.search(schemas)]
    return units[0] if len(units) == 1 else None


def _conversations(records: Iterable[Record], numbers: Iterable[int] | None, system: str | None) -> list[Conversation]:
    """The parts of these records, as many as `_MAX_TEXT` allows; arguments as in `study`."""
    rows: list[Conversation] = []
    characters_left = _MAX_TEXT
    for number, record in zip(numbers or count(1), records, strict=False):
        try:
            row = _conversation(number, record, system)
        except (DataError, FormatError, ToolError) as error:
            raise DataError(f"row {number}: {clause(error)}") from None
        rows.append(row)
        characters_left -= len(row.first.text) + sum(len(turn.text) for turn in row.turns)
        if characters_left < 0:
            break
    if not rows:
        raise DataError("there are no rows to find a chat protocol in")
    return rows


def _conversation(number: int, record: Record, given: str | None) -> Conversation:
    system, start = _split_system(record, given)
    messages, shown = record.messages[start:], images_of(record)[start:]
    if any(message.role != ("user", "assistant")[index % 2] for index, message in enumerate(messages)):
        raise DataError("its turns do not alternate between user and assistant")
    if not shown[0]:
        raise DataError("its first user turn shows no image")
    sizes = dict(enumerate(map(size_of, record.images if number <= _MAX_MEASURED else ())))
    text = _text_after_images(messages[0].content, start + 1)
    first = FirstTurn(number, text, len(shown[0]), record.question, sizes.get(0))
    turns, calls = [], []
    images_before = list(accumulate(map(len, shown), initial=0))
    for reply in range(1, len(messages), 2):
        has_result = reply + 1 < len(messages)
        call, index = _read_call(messages[reply].content, has_result), images_before[reply]
        calls += [(call, index)] if call else []
        if call and has_result:
            position, count = start + reply + 2, len(shown[reply + 1])
            if count != 1:
                raise DataError(f"message {position} shows {count} images, and a tool gives one")
            text = _text_after_images(messages[reply + 1].content, position)
            turns.append(ToolTurn(number, text, index, tools.get(call.name).TEMPLATE, sizes.get(index)))
    return Conversation(number, system, first, turns, calls, len(messages[1::2]))


def _split_system(record: Record, given: str | None) -> tuple[str, int]:
    """The system message of a record, and the index of the message after it."""
    saved = next((message.content for message in record.messages[:1] if message.role == "system"), None)
    start = int(saved is not None)
    if len(record.messages) <= start:
        raise DataError("it has no conversation")
    if saved is None and given is None:
        raise DataError("it has no system message")
    if saved is not None and given and saved != given:
        raise DataError("its system message is not the one that was given")
    return saved or given or "", start


def _text_after_images(content: str, position: int) -> str:
    count = content.count(MARK)
    if not content.startswith(MARK * count):
        raise DataError(f"message {position} has an image within its text, not before it")
    return content[len(MARK) * count :]


def _read_call(content: str, required: bool) -> ToolText | None:
    """The tool call of a reply; None: it has none that can be read, which is an error if it is `required`."""
    try:
        tool = parse(content).tool
    except FormatError:
        if required:
            raise
        return None
    if tool is None and required:
        raise DataError("it continues after its answer")
    return tool
