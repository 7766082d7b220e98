"""One row of a dataset as `virc data show` shows it: question, images, turns, and what is wrong with it.

`find` reads the row, and `view` makes a `RowView` of it: the images that it has (`images_to_show`), and a trace as of a
solution that `virc solve` made (`trace_of`), which `write_page` writes as HTML. `draw_boxes` is apart from these.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
from PIL import Image, ImageDraw, ImageFont

from virc.core.errors import DataError, UnreadError
from virc.core.files import write_whole, writing
from virc.core.tables import parquet as parquet_rows
from virc.core.text import counted, plain
from virc.data.check.calls import offered
from virc.data.check.images import all_announced, announced_squares, why_closed
from virc.data.check.plain import rules_for
from virc.data.check.result import Rules
from virc.data.check.row import check_row
from virc.data.formats.registry import RowsFile, get
from virc.data.protocol.extract import study, unit_named
from virc.data.protocol.templates import question_of
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Message as RecordMessage
from virc.data.rows.record import Record, images_of, input_sizes, message_of, system_of
from virc.data.rows.remembered import decoded
from virc.data.rows.results import split_results
from virc.data.rows.sizes import display_sizes
from virc.data.rows.transcripts import CALL
from virc.data.steps import Step, StepCall, StoredWalk, read_turns
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.grammar import marks
from virc.reasoning.images import Shown
from virc.reasoning.messages import FormatError
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.protocol import Protocol
from virc.reasoning.resample import resampled
from virc.reasoning.resize import MAX_PIXELS, QWEN2
from virc.reasoning.trace import CallResult, Earlier, ImageRecord, Message, Rejected, Trace, Unit
from virc.scoring.boxes import Box, boxes_of_row

_PLACEHOLDER = (448, 224)
_LETTER = 16  # px
_DRAWN = 5  # rows with boxes
_UNCHECKED = ToolError("an image before it is missing, so that its call is not checked")


class PageImage(msgspec.Struct, frozen=True):
    """An image of a row as the model sees it, or a placeholder with its `fault`; sizes are (width, height) in px."""

    name: str
    shown: Shown
    size: Size | None
    fault: str | None = None
    file: Size | None = None


class RowView(msgspec.Struct, frozen=True):
    """A row to look at. In its trace, a reply that cannot be used is a rejected try of its unit.

    Args:
        faults: what `virc data check` reports for it.
        why: the reason for the unit that its boxes are counted in.
    """

    number: int
    record: Record
    trace: Trace
    images: list[PageImage]
    faults: list[str]
    why: str

    @property
    def shared(self) -> Sequence[RecordMessage]:
        return self.record.messages if self.record.rejected is None else self.record.messages[:-1]

    @property
    def chosen(self) -> str | None:
        return None if self.record.rejected is None else self.record.messages[-1].content

    @property
    def margin(self) -> Any:
        return None if self.record.rejected is None else self.record.extra.get("margin")

    def as_fields(self) -> dict[str, Any]:
        return {
            "row": self.number,
            "id": self.record.id,
            "question": next(iter(self.trace.questions.values())),
            "answer": self.record.answer,
            "images": [
                {"name": each.name, "width": width, "height": height, "fault": each.fault}
                for each in self.images
                for width, height in (each.size or (None, None),)
            ],
            "messages": [{"role": each.role, "content": each.content} for each in self.shared],
            "chosen": self.chosen,
            "rejected": self.record.rejected,
            "margin": self.margin,
            "faults": self.faults,
        }


def find(source: RowsFile, number: int = 1, id: str | None = None) -> ParsedRow:
    file_format = get(source.format)
    if id is None:
        row: ParsedRow | None = next(file_format.read(source, number), None)
        if row and row.number == number:  # a blank line has no row
            return row
        if row and isinstance(row.fault, UnreadError):
            raise DataError(f"{source.file} cannot be read up to row {number}: {row.fault.message}")
        raise DataError(f"{source.file} has no row {number}")
    unread = ""
    for row in cast(Iterator[ParsedRow], file_format.read(source)):
        if row.record and str(row.record.id) == id:
            return row
        if isinstance(row.fault, UnreadError):
            unread = f", and cannot be read to its end: {row.fault.message}"
    raise DataError(f"{source.file} has no row with the id {plain(id, 80)}{unread}")


def row_count(source: RowsFile) -> int | None:
    if not parquet_rows.is_parquet(source.file):
        return None
    rows: int = parquet_rows.open_file(source.file).metadata.num_rows
    return rows


def view(source: RowsFile, row: ParsedRow) -> RowView:
    record = row.known()
    unit = unit_named(system_of(record))
    protocol = source.laid_out.protocol if source.laid_out else None
    rules, why = rules_for(source, [row], unit or "auto", protocol)
    why = "as its system message says" if unit else why
    if rules.protocol is None:
        for messages in (record.messages[:2], record.messages):  # later turns may be wrong: then the first two decide
            with suppress(DataError):
                one = [(row.number, msgspec.structs.replace(record, messages=messages))]
                found = study(one, rules.coordinates, needs_system=False)
                rules = msgspec.structs.replace(rules, protocol=found.protocol)
    images = images_to_show(record, rules)
    faults = [fault.message for fault in check_row(rules, row).faults]
    return RowView(row.number, record, trace_of(record, images, rules), images, faults, why)


def write_page(view: RowView, source: RowsFile, to: Path) -> Path:
    """Write the row as an HTML page: that file, or `row-N.html` in that folder. Raises VircError: the disk refuses."""
    from virc.solving.traces.page import render_page

    path = to if to.suffix.lower() in (".html", ".htm") else to / f"row-{view.number}.html"
    faults = f" · {counted(len(view.faults), 'fault')}" if view.faults else ""
    meta = {
        "row": f"row {view.number} of {source.file.name}{faults}",
        "faults": view.faults or None,
        "id": view.record.id,
        "reference answer": view.record.answer,
        "rejected reply": view.record.rejected,
        "margin": view.margin,
        "chat_protocol": None,  # that of the row is on the page
        "coordinates": f"{view.trace.protocol.coordinates}, {view.why}",
        "format": source.format,
    }
    page = render_page(view.trace, [image.shown for image in view.images], meta)
    with writing(path):
        write_whole(path, page.encode("utf-8", "replace"))
    return path


def draw_boxes(rows: Iterable[tuple[RowsFile, ParsedRow]], folder: Path) -> list[Path]:
    """Draw the boxes of the first rows that have some over their first pictures. Raises VircError: the disk refuses."""
    paths, found = list[Path](), list[tuple[str, Image.Image, list[Box]]]()
    for source, row in rows:
        with suppress(DataError, OSError):  # which the check reports
            if row.record and row.record.images and (boxes := boxes_of_row(row.record.extra)):
                picture = open_image(row.record.images[0].read(), row.record.images[0].name)
                found.append((f"{source.file.stem}-row-{row.number}", picture, boxes))
        if len(found) == _DRAWN:
            break
    for at, (name, picture, boxes) in enumerate(found, 1):
        drawn, image = ImageDraw.Draw(picture), io.BytesIO()
        for left, top, right, bottom in boxes:
            (x, to_x), (y, to_y) = sorted((left, right)), sorted((top, bottom))
            drawn.rectangle((x, y, to_x, to_y), outline="red", width=max(2, max(picture.size) // 400))
        picture.save(image, "PNG")
        paths.append(folder / f"{at}-{name}.png")
        with writing(paths[-1]):
            write_whole(paths[-1], image.getvalue())
    return paths


def images_to_show(record: Record, rules: Rules) -> list[PageImage]:
    """The images, up to the one with which all together have more pixels than a page may hold."""
    found = [decoded(picture) for picture in record.images]
    files = [each.size for each in found]
    sizes = display_sizes(record, files, rules, announced_squares(record, files, rules))
    announced = all_announced(record, rules)
    images: list[PageImage] = []
    room = 2 * MAX_PIXELS
    for index, (picture, size) in enumerate(zip(record.images, sizes, strict=True)):
        if size is None:
            error, stated = found[index].error, announced.get(index)
            message = "it is on the network, and is not downloaded to be shown"
            message = why_closed(picture, error).message if error else message
            images.append(PageImage(picture.name, _placeholder(message, stated), stated, message))
        else:
            image = open_image(picture.read(), picture.name)
            images.append(PageImage(picture.name, Shown(resampled(image, size)), size, file=image.size))
        room -= images[-1].shown.width * images[-1].shown.height
        if room < 0:
            break
    return images


def _placeholder(sentence: str, size: Size | None) -> Shown:
    width, height = size or _PLACEHOLDER
    if not QWEN2.min_pixels <= width * height <= QWEN2.max_pixels:
        width, height = _PLACEHOLDER
    image = Image.new("RGB", (width, height), "gainsboro")
    text = "\n".join(textwrap.wrap(plain(sentence).encode("ascii", "replace").decode(), max(8, width // 9)))
    font = ImageFont.load_default(_LETTER)
    ImageDraw.Draw(image).multiline_text((_LETTER, _LETTER), text, fill="black", font=font)
    return Shown(image)


def trace_of(record: Record, images: Sequence[PageImage], rules: Rules) -> Trace:
    record = split_results(record, rules.protocol)
    shown = [tuple(index for index in indices if index < len(images)) for indices in images_of(record)]
    messages = [message_of(message, indices) for message, indices in zip(record.messages, shown, strict=True)]
    sizes = [*(image.size for image in images), *[None] * (len(record.images) - len(images))]  # those on the page
    files = input_sizes(record, [image.file for image in images])
    turns, unread = read_turns(record, rules.grammar)
    steps = [] if record.has_tools else [*StoredWalk(record, turns, rules, sizes, files, offered(rules))]
    units = [_unit(messages[step.at].text, step, unread.get(step.at), rules) for step in steps]
    units += _not_carried_out(record, messages) if record.has_tools else ()
    question = record.question or ""
    first = next((message for message in messages if message.role == "user"), None)
    if record.question is None and first:  # the whole turn where the row does not show the question in it
        within = question_of(first.text, rules.protocol, len(first.images) or None) if rules.protocol else None
        question = first.text if within is None else within
    earlier = list[Earlier]()
    for number, step in enumerate(steps[:-1] if rules.plain or not rules.grammar.calls else (), 1):
        if (answered := units[number - 1].answer) is not None:  # each reply answers a question of its own
            earlier.append(Earlier(question, answered, number))
            question = messages[step.at + 1].text
    if not messages:
        messages = [Message("user", question, tuple(range(len(images))))]
    results = (result for unit in units for result in unit.results)
    call_of_image = {index: result.call for result in results if result.call for index in result.images}
    records = []
    for index, image in enumerate(images):
        call = call_of_image.get(index)
        parent, box = (call.index, call.box) if call else (None, None)
        records.append(ImageRecord(index, *image.shown.size, image.name, parent, box))
    answer = None if record.messages else record.answer  # a problem has the answer of its row
    unknown = Protocol("", "", "", "", "", coordinates=rules.coordinates, name="not found")
    return Trace(
        question=question,
        protocol=rules.protocol or unknown,
        images=records,
        messages=messages,
        units=units,
        answer=units[-1].answer if units else answer,
        earlier=tuple(earlier),
    )


def _not_carried_out(record: Record, messages: Sequence[Message]) -> Iterator[Unit]:
    """The units of a row whose tools are its own."""
    for at, message in enumerate(messages):
        if record.messages[at].role == CALL:
            said = [CallResult(images=each.images, text=each.text) for each in messages[at + 1 : at + 2]]
            yield Unit(message.text, message.text, tuple(said))
        elif message.role == "assistant":
            yield Unit(message.text, "", answer=message.text)


def _unit(text: str, step: Step, unread: FormatError | None, rules: Rules) -> Unit:
    """A reply as a unit; one that is not usable is a rejected try of it, behind which the row may have images."""
    if unread and rules.plain and not marks(text, rules.grammar):
        return Unit(text, "", answer=text.strip())
    if step.turn and not step.calls:
        return Unit(text, step.turn.think, answer=step.turn.answer)
    error: ValueError | None = unread if unread and not (unread.kind == "json" and rules.shows_errors) else None
    for each in step.calls:
        error = error or (None if each.checked or (each.error and rules.shows_errors) else each.error or _UNCHECKED)
    think = step.turn.think if step.turn else ""
    if error is None:
        results = [CallResult(error=str(unread), images=tuple(step.images))] if unread else map(_result, step.calls)
        return Unit(text, think, tuple(results))
    kind = unread.kind if unread else "tool"
    shown = (CallResult(images=tuple(step.images)),) if step.images else ()
    return Unit(text, think, shown, rejected=(Rejected(text, kind, str(error)),))


def _result(called: StepCall) -> CallResult:
    images, error = tuple(called.images), None if called.error is None else str(called.error)
    return CallResult(called.call, images, error=error, deviations=called.checked.deviations if called.checked else ())
