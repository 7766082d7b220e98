"""One row, checked for all that concerns rows of its kind; it runs in any process.

LLaMA-Factory drops most of what is wrong with a conversation with no more than a warning, or crashes hours later.
`check_row` begins here: `check_without_images` finds what stops training, and needs no image; `_warnings` finds what a
model would learn wrongly. What a row is (`holds`): a problem, a solution (a conversation with its replies), a prompt
of RL, or a pair of replies.
"""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import cycle

import msgspec

from virc.core.errors import UnreadError
from virc.core.text import plain
from virc.data.check import calls, images
from virc.data.check.images import DecodedImage, decoded, no_file
from virc.data.check.result import UNREAD, UNREAD_COLUMN, Counts, Fault, RowResult, Rules
from virc.data.formats.registry import Holds, NumberedRow
from virc.data.rows.boxes import units_of_boxes
from virc.data.rows.record import MARK, Record, has_reference, inputs_of, not_offered
from virc.data.rows.results import TURN, split_results
from virc.models.chat_protocol import needs_picture
from virc.reasoning.calls import Size
from virc.reasoning.grammar import Grammar
from virc.reasoning.images import SQUARE
from virc.reasoning.marks.families import FAMILIES
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import smart_resize
from virc.scoring.references import Reference, references_of
from virc.scoring.score import is_list_text

_OF_LLAMA_FACTORY: Sequence[Holds] = ("solutions", "pairs")
"""Rows that LLaMA-Factory reads."""
_DROPPED = "engines drop such a row, or stop"
_QWEN = FAMILIES["Qwen"]
_TURN_MARKS = re.compile("|".join(re.escape(mark) for mark in (*_QWEN.roles, *_QWEN.ends) if "|" in mark))
"""Tokens around turns of the bases that LLaMA-Factory trains; tokens of images are found when rows are read."""


def check_row(rules: Rules, row: NumberedRow) -> RowResult:
    """The faults, warnings and counts of a row."""
    if row.record is None:
        return RowResult((unread(row),))
    record = split_results(row.record, rules.protocol)
    decoded_images = [decoded(picture, rules.compared) for picture in record.images]
    shown = images.sizes_shown(record, [image.size for image in decoded_images], rules)
    image_faults = [image.fault for image in decoded_images if image.fault]
    if not image_faults:
        image_faults = [fault for picture in record.images if picture.on_network and (fault := no_file(picture))]
    # `virc batch` solves problems without an answer: they are only counted
    unfit = [each for each in _unfit(row, row.record, rules) if (each.kind, rules.holds) != ("no_answer", "problems")]
    faults = [
        *unfit,
        *image_faults,
        *(msgspec.structs.replace(each, stops=False) for each in _warnings(row, record, decoded_images, shown, rules)),
    ]
    references, unmatched = references_in(record) if rules.holds == "problems" else ((), [])
    faults += unmatched
    inputs = [decoded_images[index] for index in inputs_of(record) if index < len(decoded_images)]
    turn = record.extra.get("turn") if rules.holds == "prompts" else None  # rows of one conversation share their id
    return RowResult(
        tuple(faults),
        _counts(record, decoded_images, inputs, shown, rules),
        key=None if record.id is None else msgspec.json.encode([record.id, str(turn)]).decode(),
        inputs={image.pixels: image.fingerprint for image in inputs if image.fingerprint},
        references=references,
    )


def _counts(
    record: Record,
    decoded_images: Sequence[DecodedImage],
    inputs: Sequence[DecodedImage],
    shown: Sequence[Size | None],
    rules: Rules,
) -> Counts:
    sizes = [image.size for image in inputs if image.size]
    square = sum(size == SQUARE for size in sizes)
    on_grid = sum(size == smart_resize(*size, rules.grid) for size in sizes)
    fits = list(units_of_boxes(record, shown, rules.grammar))  # (as pixels, as permille) of each box
    return Counts(
        images=len(decoded_images),
        unseen=sum(image == DecodedImage() for image in decoded_images),
        square=square,
        on_grid=on_grid,
        off_grid=len(sizes) - square - on_grid,
        boxes=len(fits),
        pixel=fits.count((True, False)),
        permille=fits.count((False, True)),
        both=fits.count((True, True)),
        unanswered=int(rules.holds == "problems" and _is_unanswered(record)),
        crowds=len(crowds) if isinstance(crowds := record.extra.get("crowd_boxes"), list) else 0,
    )


def references_in(record: Record) -> tuple[Sequence[Reference], list[Fault]]:
    """How the right answer of a problem may be read, and what is wrong with that."""

    def size() -> Size | None:
        return decoded(record.images[0]).size if record.images else None

    references = references_of({**record.extra, "answer": record.answer}, size)
    flawed = [each for each in references if each.flaw and each.kind != "choice"]  # `answer_not_offered` says that
    return references, [Fault("reference", each.flaw, stops=each.kind != "looks") for each in flawed]


def unread(row: NumberedRow) -> Fault:
    message = row.fault.message if row.fault else "it cannot be read"
    kind = UNREAD if isinstance(row.fault, UnreadError) else "row"
    return Fault(kind, plain(re.sub(rf"^(?:row|line) {row.number}: ", "", message)))


def check_without_images(row: NumberedRow, holds: Holds, protocol: Protocol | None = None) -> Iterator[Fault]:
    """What training stops at in a row, or drops it for, as far as that shows without opening its images."""
    if row.record is None:
        yield unread(row)
        return
    yield from _unfit(row, row.record, Rules(holds, protocol=protocol))
    yield from filter(None, map(no_file, row.record.images))


def _unfit(row: NumberedRow, record: Record, rules: Rules) -> Iterator[Fault]:
    """The same without a look at the files of images."""
    holds = rules.holds
    # verl gets rows that are written again
    yield from (Fault("row", plain(flaw), stops=holds != "prompts") for flaw in row.flaws)
    for name, value in row.unread.items():
        hint = row.rewriting or f"--ignore {shlex.quote(plain(name, 200))} leaves it out"
        yield Fault(UNREAD_COLUMN, f"nothing reads its column {plain(name, 60)}, which holds {value} ({hint})")
    if holds == "pairs":
        yield from check_pair(record)
    elif holds != "problems":
        yield from check_conversation(record, holds)
    if holds in _OF_LLAMA_FACTORY:
        yield from _turn_marks(record)
    else:
        if not (record.question or "").strip():
            # the chat protocol finds it in the messages
            yield Fault("no_question", "its question is not known by itself", stops=not record.messages)
        if _is_unanswered(record):
            yield Fault("no_answer", "it has no answer to compare replies with")
        if not record.images and (rules.protocol is None or needs_picture(rules.protocol)):
            yield Fault("no_image", "it has no image, and no tool of the system returns one")
        if sentence := not_offered(record):
            yield Fault("answer_not_offered", sentence)


def _turn_marks(record: Record) -> Iterator[Fault]:
    """Faults of texts with tokens that open or end a turn, except the `TURN` that joins two replies."""
    texts = {
        f"message {number}": message.content.replace(TURN, "") for number, message in enumerate(record.messages, 1)
    }
    for name, text in (texts | {"its rejected reply": record.rejected or ""}).items():
        if found := _TURN_MARKS.search(text):
            yield Fault("turn_mark", f"{name} holds {found[0]}: LLaMA-Factory reads it as the token around a turn")


def _is_unanswered(record: Record) -> bool:
    return not (record.answer or "").strip() and not {"box", "boxes"} & record.extra.keys()


def check_conversation(record: Record, holds: Holds) -> Iterator[Fault]:
    if not record.messages:
        yield Fault("no_messages", f"it has no messages: {_DROPPED}")
        return
    has_system = record.messages[0].role == "system"
    turns = record.messages[1:] if has_system else record.messages
    for number, (message, expected) in enumerate(zip(turns, cycle(("user", "assistant"))), 2 if has_system else 1):
        if message.role != expected:
            yield Fault("roles", f"message {number} is of {message.role}, and {expected} is due: {_DROPPED}")
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
    for number, message in enumerate(record.messages, 1):
        if message.role == "system" and MARK in message.content:
            yield Fault("mark_misplaced", f"message {number}, of system, holds {MARK}: only users show images")


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
    row: NumberedRow, record: Record, decoded_images: Sequence[DecodedImage], shown: Sequence[Size | None], rules: Rules
) -> Iterator[Fault]:
    """What a model would learn that inference does not do: training takes such a row as it is.

    Args:
        record: of the row, with results as messages of their own.
    """
    is_compared = rules.holds not in _OF_LLAMA_FACTORY and not record.extra.get("answers")
    if is_compared and record.answer is not None and is_list_text(record.answer):
        answer = plain(record.answer, 40)
        yield Fault("answer_list", f"its answer {answer!r} is the text of a list; `answers` holds lists")
    sizes = [image.size for image in decoded_images]
    if rules.holds == "pairs":
        shared = msgspec.structs.replace(record, messages=record.messages[:-1])
        if rules.protocol is not None and shared.messages:
            yield from images.check_announced(shared, shown, rules)
            yield from calls.check_turns(shared, shown, sizes, rules, 0, False)
    elif rules.holds != "problems" and row.record and record.messages:
        yield from _warnings_of_replies(row.record, record, sizes, shown, rules)


def _warnings_of_replies(
    written: Record, record: Record, sizes: Sequence[Size | None], shown: Sequence[Size | None], rules: Rules
) -> Iterator[Fault]:
    """The same of a solution or a prompt; `written` has results inside replies, where the chat protocol has them."""
    results_in_replies = rules.holds == "solutions" and rules.protocol is not None and rules.protocol.results != "user"
    if not results_in_replies:
        for number, message in enumerate(written.messages, 1):
            if message.role == "assistant" and MARK in message.content:
                yield Fault("mark_misplaced", f"message {number}, of assistant, holds {MARK}")
    replies = sum(message.role == "assistant" for message in record.messages)
    if rules.holds == "prompts":
        replies = replies if has_reference(record) else 0
        yield from _prompt(record, calls.offered(rules), rules.grammar)
    yield from images.check_announced(record, shown, rules)
    ends_with_reply = record.messages[-1].role == "assistant"
    if results_in_replies and written.messages[-1].role == "assistant" and not ends_with_reply:
        yield Fault("end", "its last message ends with a result, not with what the model makes of it")
    required = rules.holds == "solutions" and ends_with_reply
    yield from calls.check_turns(record, shown, sizes, rules, replies, required)


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
