"""One row, checked for all that concerns rows of its kind; it runs in any process.

LLaMA-Factory drops most of what is wrong with a conversation with no more than a warning, or crashes hours later.
"""

import math
import re
import shlex
from collections.abc import Iterator, Sequence

import msgspec

from virc.core.errors import UnreadError
from virc.core.text import plain
from virc.data.check import calls, images
from virc.data.check.images import DecodedImage, decoded, is_there
from virc.data.check.result import UNREAD, UNREAD_COLUMN, Counts, Fault, RowResult, Rules
from virc.data.formats.registry import Holds, Row
from virc.data.rows.record import MARK, Record, has_reference, inputs_of, not_offered, system_of
from virc.data.rows.results import apart
from virc.models.chat_protocol import needs_picture
from virc.reasoning.calls import Size
from virc.reasoning.grammar import Grammar
from virc.reasoning.images import SQUARE
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import smart_resize
from virc.scoring.references import Reference, references_of
from virc.scoring.score import is_list_text

_OPENED_BY_PATH: Sequence[Holds] = ("solutions", "pairs")
"""What rows are of which LLaMA-Factory opens the images, wherever they are."""
_DROPPED = "engines drop such a row, or stop"


def check_row(rules: Rules, row: Row) -> RowResult:
    if row.record is None:
        return RowResult(row.number, faults=(unread(row),))
    record = apart(row.record, rules.protocol)
    anywhere = rules.holds in _OPENED_BY_PATH
    found = [decoded(msgspec.structs.replace(each, confined=each.confined > anywhere)) for each in record.images]
    shown = images.sizes_shown(record, [each.size for each in found], rules)
    opened = [each.fault for each in found if each.fault]
    # rows without an answer are counted alone: `virc batch` solves them
    otherwise = {"image_missing": bool(opened), "no_answer": rules.holds == "problems"}
    faults = [
        *(each for each in check_without_images(row, rules.holds, rules.protocol) if not otherwise.get(each.kind)),
        *opened,
        *(msgspec.structs.replace(each, stops=False) for each in _warnings(row.record, record, found, shown, rules)),
    ]
    inputs = [found[index] for index in inputs_of(record) if index < len(found)]
    sizes = [each.size for each in inputs if each.size]
    square = sum(size == SQUARE for size in sizes)
    on_grid = sum(size == smart_resize(*size, rules.grid) for size in sizes)
    fits = list(calls.boxes(record, shown, rules.grammar))
    counts = Counts(
        images=len(found),
        unseen=sum(each == DecodedImage() for each in found),
        square=square,
        on_grid=on_grid,
        off_grid=len(sizes) - square - on_grid,
        boxes=len(fits),
        pixel=fits.count((True, False)),
        permille=fits.count((False, True)),
        both=fits.count((True, True)),
        unanswered=int(rules.holds == "problems" and _is_unanswered(record)),
    )
    references, unmatched = references_in(record) if rules.holds == "problems" else ((), [])
    faults += unmatched
    turn = record.extra.get("turn") if rules.holds == "prompts" else None
    key = None if record.id is None else msgspec.json.encode([record.id, str(turn)]).decode()
    return RowResult(
        row.number,
        record.id,
        tuple(faults),
        counts,
        key,
        tuple(dict.fromkeys(each.pixels for each in inputs if each.size)),
        system_of(record) if record.messages else None,
        references,
    )


def references_in(record: Record) -> tuple[Sequence[Reference], list[Fault]]:
    def size() -> Size | None:
        return decoded(record.images[0]).size if record.images else None

    found = references_of({**record.extra, "answer": record.answer}, size)
    wrong = [each for each in found if each.flaw and each.kind != "choice"]  # which is a fault of its own
    return found, [Fault("reference", each.flaw, stops=each.kind != "looks") for each in wrong]


def unread_columns(row: Row) -> Iterator[Fault]:
    for name, holds in row.unread.items():
        sentence = f"nothing reads its column {plain(name, 60)}, which holds {holds}"
        left_out = f"--ignore {shlex.quote(plain(name, 200))} leaves it out"
        yield Fault(UNREAD_COLUMN, f"{sentence} ({row.rewriting or left_out})")


def unread(row: Row) -> Fault:
    message = row.fault.message if row.fault else "it cannot be read"
    kind = UNREAD if isinstance(row.fault, UnreadError) else "row"
    return Fault(kind, plain(re.sub(rf"^(?:row|line) {row.number}: ", "", message)))


def check_without_images(row: Row, holds: Holds, protocol: Protocol | None = None) -> Iterator[Fault]:
    """What training stops at in a row, or drops it for, as far as that shows without opening its images."""
    if row.record is None:
        yield unread(row)
        return
    record = row.record
    # verl gets rows that are written again
    yield from (Fault("row", plain(flaw), stops=holds != "prompts") for flaw in row.flaws)
    yield from unread_columns(row)
    if holds == "pairs":
        yield from check_pair(record)
    elif holds != "problems":
        yield from check_conversation(record, holds)
    anywhere = holds in _OPENED_BY_PATH
    if not anywhere:
        if not (record.question or "").strip():
            known = bool(record.messages)  # by the chat protocol, where the row itself does not have it
            yield Fault("no_question", "its question is not known by itself", stops=not known)
        if _is_unanswered(record):
            yield Fault("no_answer", "it has no answer to compare replies with")
        if not record.images and (protocol is None or needs_picture(protocol)):
            yield Fault("no_image", "it has no image, and no tool of the system returns one")
        if sentence := not_offered(record):
            yield Fault("answer_not_offered", sentence)
    for picture in record.images:
        if not is_there(picture, anywhere):
            yield Fault("image_missing", f"there is no file {plain(picture.name, 120)}")


def _is_unanswered(record: Record) -> bool:
    return not (record.answer or "").strip() and not {"box", "boxes"} & record.extra.keys()


def check_conversation(record: Record, holds: Holds) -> Iterator[Fault]:
    if not record.messages:
        yield Fault("no_messages", f"it has no messages: {_DROPPED}")
        return
    first = int(record.messages[0].role == "system")
    for at, message in enumerate(record.messages[first:]):
        expected = ("user", "assistant")[at % 2]
        if message.role != expected:
            yield Fault("roles", f"message {first + at + 1} is of {message.role}, and {expected} is due: {_DROPPED}")
            break
    last = record.messages[-1].role
    if holds == "solutions" and last != "assistant":
        yield Fault("end", f"it ends with a message of {last}, not assistant: {_DROPPED}")
    if holds == "prompts" and last != "user" and not has_reference(record):
        yield Fault("end", f"it ends with a message of {last}, not user: the model would go on after itself")
    if holds == "pairs" and last != "user":
        yield Fault("end", f"its messages end with one of {last}, not user, before the two replies: {_DROPPED}")
    marks = sum(message.content.count(MARK) for message in record.messages)
    if marks != len(record.images):
        yield Fault("marks", f"{marks} {MARK} marks for {len(record.images)} images: the engine stops at it")
    for at, message in enumerate(record.messages, 1):
        if message.role == "system" and MARK in message.content:
            yield Fault("mark_misplaced", f"message {at}, of system, holds {MARK}: only users show images")


def check_pair(record: Record) -> Iterator[Fault]:
    if record.rejected is None or not record.messages:
        yield Fault("no_messages", f"it has not both replies: {_DROPPED}")
        return
    shared = msgspec.structs.replace(record, messages=record.messages[:-1])
    yield from check_conversation(shared, "pairs")
    chosen = record.messages[-1].content
    for side, text in (("chosen", chosen), ("rejected", record.rejected)):
        if not text.strip():
            yield Fault("empty_side", f"its {side} reply is empty")
        if MARK in text:
            yield Fault("side_image", f"its {side} reply holds {MARK}: both share the images of the messages")
    if chosen == record.rejected:
        yield Fault("equal_sides", "its chosen and its rejected reply are the same: neither is better")
    margin = record.extra.get("margin")
    if margin is not None and not (type(margin) in (int, float) and 0 <= margin < math.inf):
        yield Fault("margin", f"its margin is {plain(repr(margin), 40)}, not a finite number of at least 0")


def _warnings(
    row: Record, record: Record, found: Sequence[DecodedImage], shown: Sequence[Size | None], rules: Rules
) -> Iterator[Fault]:
    """What a model would learn that inference does not do: training takes such a row as it is."""
    if rules.holds in _OPENED_BY_PATH:
        yield from images.outside(record.images)
    elif record.answer is not None and not record.extra.get("answers") and is_list_text(record.answer):
        given = plain(record.answer, 40)
        yield Fault("answer_list", f"its answer {given!r} is the text of a list; `answers` holds lists")
    if rules.holds == "problems":
        return
    if rules.holds == "pairs":
        shared = msgspec.structs.replace(record, messages=record.messages[:-1])
        if rules.protocol is not None and shared.messages:
            yield from images.check_announced(shared, shown, rules)
            yield from calls.check(shared, shown, [each.size for each in found], rules, 0, False)
        return
    inserted = rules.holds == "solutions" and rules.protocol is not None and rules.protocol.results != "user"
    if not record.messages:
        return
    if not inserted:
        replies = (at for at, each in enumerate(row.messages, 1) if each.role == "assistant" and MARK in each.content)
        yield from (Fault("mark_misplaced", f"message {at}, of assistant, holds {MARK}") for at in replies)
    answering = sum(message.role == "assistant" for message in record.messages)
    if rules.holds == "prompts":
        answering *= has_reference(record)
        yield from _prompt(record, calls.offered(rules), rules.grammar)
    yield from images.check_announced(record, shown, rules)
    if inserted and row.messages[-1].role == "assistant" != record.messages[-1].role:
        yield Fault("end", "its last message ends with a result, not with what the model makes of it")
    required = rules.holds == "solutions" and record.messages[-1].role == "assistant"
    yield from calls.check(record, shown, [each.size for each in found], rules, answering, required)


def _prompt(record: Record, offered: Sequence[str], grammar: Grammar) -> Iterator[Fault]:
    info = record.extra.get("tool_info_gt")
    tool = info.get("name") if isinstance(info, dict) else None
    if tool is not None and tool not in offered:
        sentence = f"tool_info_gt names {plain(tool, 40)!r}, which is not offered: {', '.join(offered)}"
        yield Fault("tool_info", sentence)
    elif has_reference(record):
        try:
            call = parse(record.messages[-1].content, grammar).tool
        except FormatError:
            return  # reported for the turn itself
        called = plain(call.name, 40) if call else None
        if called != tool:
            sentence = f"tool_info_gt names {tool or 'no tool'}, the reference calls {called or 'none'}"
            yield Fault("tool_info", sentence)
