"""One row of a dataset to look at: what it asks, shows and says, turn by turn, and what is wrong with it."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import cast

import msgspec
from PIL import Image, ImageDraw, ImageFont

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.check.images import look
from virc.data.check.row import check_row
from virc.data.check.rules import rules_for
from virc.data.check.sizes import as_shown, stated
from virc.data.check.verdict import Rules
from virc.data.formats.registry import Row, Source, get
from virc.data.protocol.extract import extract, question_of, unit_named
from virc.data.rows import parquet as parquet_rows
from virc.data.rows.record import MARK, Picture, Record, images_of
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.images import MOST_PIXELS, SQUARE, Shown, open_image, show, show_square
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.trace import ImageRecord, Message, Rejected, Trace, Unit
from virc.tools import registry as tools

_PLACEHOLDER = (448, 224)
_LETTER = 16  # px


class Seen(msgspec.Struct, frozen=True):
    """An image of a row.

    Args:
        name: as the row has it.
        shown: as the model sees it, or a placeholder that says why it cannot.
        size: (width, height) in px as shown; of an image that does not open what the text says, None if nothing.
        fault: why it does not open.
    """

    name: str
    shown: Shown
    size: Size | None
    fault: str | None = None


class Told(msgspec.Struct, frozen=True):
    """A row to look at.

    Args:
        number: of the row, from 1.
        record: what it holds.
        trace: its conversation as if it had just been had; a reply that cannot be used is a rejected try of its unit.
        images: as many as the trace has.
        faults: what a check of the row finds, one clause each.
        why: how it is known what boxes are counted in.
    """

    number: int
    record: Record
    trace: Trace
    images: list[Seen]
    faults: list[str]
    why: str


def find(source: Source, number: int = 1, id: str | None = None) -> Row:
    """The row of that number, or the first that has that id; its record may be missing, with the fault.

    Raises:
        DataError: there is none.
    """
    format = get(source.format)
    if id is None:
        row: Row | None = next(format.read(source, number), None)
        if row and row.number == number:  # a blank line has no row
            return row
        raise DataError(f"{source.file} has no row {number}")
    for row in cast(Iterator[Row], format.read(source)):
        if row.record and str(row.record.id) == id:
            return row
    raise DataError(f"{source.file} has no row with the id {plain(id, 80)}")


def row_count(source: Source) -> int | None:
    """How many rows a file has, where it says so itself."""
    if not parquet_rows.is_parquet(source.file):
        return None
    rows: int = parquet_rows.open_file(source.file).metadata.num_rows
    return rows


def tell(source: Source, row: Row) -> Told:
    """A row that was found, with its images opened.

    Raises:
        DataError: it cannot be read.
    """
    if row.record is None:
        raise row.fault or DataError(f"row {row.number} cannot be read")
    record = row.record
    unit = unit_named(record)
    rules, why = rules_for(source, [row], unit or "auto")
    if unit:
        why = "as its system message says"
    if rules.protocol is None:
        rules = msgspec.structs.replace(rules, protocol=_chat_protocol(record, rules))
    images = seen(record, rules)
    faults = [fault.message for fault in check_row(rules, row).faults]
    return Told(row.number, record, trace_of(record, images, rules), images, faults, why)


def _chat_protocol(record: Record, rules: Rules) -> Protocol | None:
    """What the row itself shows of its chat protocol: all of it, or where turns are wrong, how it begins."""
    for messages in (record.messages, record.messages[:2]):
        with suppress(DataError):
            known = msgspec.structs.replace(record, messages=messages)
            return extract([known], rules.coordinates, system="")
    return None


def seen(record: Record, rules: Rules) -> list[Seen]:
    """The images, up to those with which they would be too large together."""
    looks = [look(picture) for picture in record.images]
    sizes = as_shown(record, [each.size for each in looks], rules)
    said = {
        index: size for message in record.messages for index, size in stated(message.content, rules).items()
    }
    images: list[Seen] = []
    room = 2 * MOST_PIXELS
    for index, (picture, size) in enumerate(zip(record.images, sizes, strict=True)):
        fault = looks[index].fault
        if size is None:
            sentence = fault.message if fault else "it is on the network, and not fetched to be shown"
            images.append(
                Seen(picture.name, _placeholder(sentence, said.get(index)), said.get(index), sentence)
            )
        else:
            images.append(Seen(picture.name, _pixels(picture, size), size))
        room -= images[-1].shown.width * images[-1].shown.height
        if room < 0:
            break
    return images


def _pixels(picture: Picture, size: Size) -> Shown:
    image = open_image(picture.read(), picture.name)
    return show_square(image) if size == SQUARE else show(image, QWEN2)


def _placeholder(sentence: str, size: Size | None) -> Shown:
    """An empty picture of that size, if it is one that is shown, with the sentence in it."""
    width, height = size or _PLACEHOLDER
    if not QWEN2.min_pixels <= width * height <= QWEN2.max_pixels:
        width, height = _PLACEHOLDER
    image = Image.new("RGB", (width, height), "gainsboro")
    text = "\n".join(textwrap.wrap(plain(sentence).encode("ascii", "replace").decode(), max(8, width // 9)))
    font = ImageFont.load_default(_LETTER)
    ImageDraw.Draw(image).multiline_text((_LETTER, _LETTER), text, fill="black", font=font)
    return Shown(image)


def trace_of(record: Record, images: Sequence[Seen], rules: Rules) -> Trace:
    """A conversation as if it had just been had; a reply that cannot be used is a rejected try of its unit."""
    shown = [tuple(index for index in indices if index < len(images)) for indices in images_of(record)]
    messages = [
        Message(message.role, message.content.removeprefix(MARK * message.content.count(MARK)), indices)
        for message, indices in zip(record.messages, shown, strict=True)
    ]
    sizes = [image.size for image in images]
    units, before = [], 0
    for at, message in enumerate(messages):
        if message.role == "assistant":
            made = messages[at + 1].images if at + 1 < len(messages) else ()
            units.append(_unit(message.text, sizes[:before], made[0] if made else None, rules))
        before += len(message.images)
    question = _question(record, messages, rules.protocol)
    if not messages:
        messages = [Message("user", question, tuple(range(len(images))))]
    return Trace(
        question=question,
        protocol=rules.protocol
        or Protocol("", "", "", "", "", coordinates=rules.coordinates, name="not found"),
        images=_image_records(images, units),
        messages=messages,
        units=units,
        answer=units[-1].answer if units else record.answer if not record.messages else None,
    )


def _unit(text: str, sizes: Sequence[Size | None], made: int | None, rules: Rules) -> Unit:
    """A reply as a unit; one that cannot be used has neither call nor answer, and itself as a rejected try."""
    think = ""
    try:
        turn = parse(text, rules.grammar)
        think = turn.think
        if turn.tool is None:
            return Unit(text, think, answer=turn.answer)
        known = [size for size in sizes if size]
        if len(known) < len(sizes):
            raise ToolError("an image before it is missing, so that its call is not checked")
        offered = rules.protocol.tools if rules.protocol else None
        checked = tools.get(turn.tool.name, offered).check(turn.tool.arguments, rules.view(known))
    except FormatError as error:
        return Unit(text, think, shown=made, rejected=(Rejected(text, error.kind, str(error)),))
    except ToolError as error:
        return Unit(text, think, shown=made, rejected=(Rejected(text, "tool", str(error)),))
    return Unit(text, think, checked.call, checked.deviations, shown=made)


def _image_records(images: Sequence[Seen], units: Sequence[Unit]) -> list[ImageRecord]:
    calls = {unit.shown: unit.call for unit in units if unit.call and unit.shown is not None}
    records = []
    for index, image in enumerate(images):
        call = calls.get(index)
        parent, box = (call.index, call.box) if call else (None, None)
        records.append(ImageRecord(index, *image.shown.size, image.name, parent, box))
    return records


def _question(record: Record, messages: Sequence[Message], protocol: Protocol | None) -> str:
    """The question; where the row does not show it apart from its chat protocol, the whole first user turn."""
    first = next((message for message in messages if message.role == "user"), None)
    if record.question is not None or first is None:
        return record.question or ""
    asked = question_of(first.text, protocol, len(first.images) or None) if protocol else None
    return first.text if asked is None else asked
