"""One row, checked for all that concerns rows of its kind; it runs in any process.

LLaMA-Factory drops most of what is wrong with a conversation with no more than a warning, or crashes hours later.
`check_row` has three parts, a module each: `turns`, `images` and `calls`. `check_without_images` finds what stops
training, and needs no image. What a row is (`holds`): a problem, a solution (a conversation with its replies), a prompt
of RL, or a pair of replies.
"""

import re
from collections.abc import Iterator, Sequence
from operator import itemgetter

import msgspec

from virc.config.taken import ignoring
from virc.core.errors import UnreadError
from virc.core.options import spelled
from virc.core.text import plain
from virc.data.check.calls import check_calls, offered
from virc.data.check.images import RowImageSet, check_announced, check_images, images_of_row, no_file
from virc.data.check.result import UNREAD, UNREAD_COLUMN, Counts, Fault, RowResult, Rules
from virc.data.check.turns import (
    ReadTurn,
    check_answers,
    check_conversation,
    check_pair,
    check_reference,
    check_turn_marks,
    read_replies,
)
from virc.data.formats.registry import Holds
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import MARK, Record, not_offered
from virc.data.rows.remembered import DecodedImage, decoded
from virc.data.rows.results import split_results
from virc.models.chat_protocol import needs_picture
from virc.reasoning.calls import Size
from virc.reasoning.images import SQUARE
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import smart_resize
from virc.scoring.references import Reference, references_of
from virc.scoring.score import is_list_text

_OF_LLAMA_FACTORY: Sequence[Holds] = ("solutions", "pairs")
"""Rows that LLaMA-Factory reads."""


def check_row(rules: Rules, row: ParsedRow) -> RowResult:
    """The faults, warnings and counts of a row: of its columns and turns, of its images, and of its calls."""
    if row.record is None:
        return RowResult((unread(row),))
    record = split_results(row.record, rules.protocol) if rules.splits_replies else row.record
    # `virc batch` solves problems without an answer: they are only counted
    unfit = [each for each in _unfit(row, row.record, rules) if (each.kind, rules.holds) != ("no_answer", "problems")]
    replies, images = read_replies(record, rules), images_of_row(record, rules)
    checked = _checked_messages(record, rules)
    found, units = check_calls(record, replies, images, rules, checked)
    counts, of_images = _counts(record, images, units, rules), check_images(record, images)
    references, unmatched = references_in(record) if rules.holds == "problems" else ((), [])
    of_row = [*_answer_list(record, rules), *(_warnings(row.record, record, replies, images, rules) if checked else ())]
    of_messages = [*((reply.at, fault) for reply in replies for fault in reply.faults), *found]
    of_messages += check_answers(replies, record, rules)
    doubts = [*of_row, *(fault for at, fault in sorted(of_messages, key=itemgetter(0)) if at < checked)]
    as_it_is = [msgspec.structs.replace(each, stops=False) for each in doubts]
    turn = record.extra.get("turn") if rules.holds == "prompts" else None  # rows of one conversation share their id
    inputs = [images.decoded[index] for index in images.inputs]
    return RowResult(
        (*unfit, *of_images, *as_it_is, *unmatched),
        counts,
        key=None if record.id is None else msgspec.json.encode([record.id, str(turn)]).decode(),
        inputs={image.pixels: image.fingerprint for image in inputs if image.fingerprint},
        references=references,
    )


def _checked_messages(record: Record, rules: Rules) -> int:
    """How many of the first messages are checked for what a model would learn; the rest are only counted."""
    if rules.holds == "pairs":  # whose last message is one of the two replies
        return max(0, len(record.messages) - 1) if rules.protocol else 0
    return 0 if rules.holds == "problems" else len(record.messages)


def _counts(record: Record, images: RowImageSet, units: Sequence[tuple[bool, bool]], rules: Rules) -> Counts:
    sizes = [size for index in images.inputs if (size := images.files[index])]
    square = sum(size == SQUARE for size in sizes)
    on_grid = sum(size == smart_resize(*size, rules.grid) for size in sizes)
    return Counts(
        images=len(images.decoded),
        unseen=sum(image == DecodedImage() for image in images.decoded),
        square=square,
        on_grid=on_grid,
        off_grid=len(sizes) - square - on_grid,
        boxes=len(units),
        pixel=units.count((True, False)),
        permille=units.count((False, True)),
        both=units.count((True, True)),
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


def unread(row: ParsedRow) -> Fault:
    message = row.fault.message if row.fault else "it cannot be read"
    kind = UNREAD if isinstance(row.fault, UnreadError) else "row"
    return Fault(kind, plain(re.sub(rf"^(?:row|line) {row.number}: ", "", message)))


def check_without_images(row: ParsedRow, holds: Holds, protocol: Protocol | None = None) -> Iterator[Fault]:
    """What training stops at in a row, or drops it for, as far as that shows without opening its images."""
    if row.record is None:
        yield unread(row)
        return
    yield from _unfit(row, row.record, Rules(protocol, holds=holds))
    yield from filter(None, map(no_file, row.record.images))


def _unfit(row: ParsedRow, record: Record, rules: Rules) -> Iterator[Fault]:
    """The same without a look at the files of images."""
    holds = rules.holds
    # verl gets rows that are written again
    yield from (Fault("row", plain(flaw), stops=holds != "prompts") for flaw in row.flaws)
    for name, value in row.unread.items():
        hint = row.rewriting or spelled(f"{ignoring([name])} leaves it out")
        yield Fault(UNREAD_COLUMN, f"nothing reads its column {plain(name, 60)}, which holds {value} ({hint})")
    if holds == "pairs":
        yield from check_pair(record)
    elif holds != "problems":
        yield from check_conversation(record, holds)
    if holds in _OF_LLAMA_FACTORY:
        yield from check_turn_marks(record)
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


def _is_unanswered(record: Record) -> bool:
    return not (record.answer or "").strip() and not {"box", "boxes"} & record.extra.keys()


def _answer_list(record: Record, rules: Rules) -> Iterator[Fault]:
    is_compared = rules.holds not in _OF_LLAMA_FACTORY and not record.extra.get("answers")
    if is_compared and record.answer is not None and is_list_text(record.answer):
        answer = plain(record.answer, 40)
        yield Fault("answer_list", f"its answer {answer!r} is the text of a list; `answers` holds lists")


def _warnings(
    written: Record, record: Record, replies: Sequence[ReadTurn], images: RowImageSet, rules: Rules
) -> Iterator[Fault]:
    """What a model would learn of messages that inference does not do: training takes such a row as it is.

    Args:
        written: has results inside replies, where the chat protocol has them.
    """
    if rules.holds == "pairs":
        yield from check_announced(record, record.messages[:-1], images.shown, rules)
        return
    results_in_replies = rules.holds == "solutions" and rules.splits_replies
    if not results_in_replies:
        for number, message in enumerate(written.messages, 1):
            if message.role == "assistant" and MARK in message.content:
                yield Fault("mark_misplaced", f"message {number}, of assistant, holds {MARK}")
    if rules.holds == "prompts":
        yield from check_reference(record, replies, offered(rules))
    yield from check_announced(record, record.messages, images.shown, rules)
    if results_in_replies and written.messages[-1].role == "assistant" != record.messages[-1].role:
        yield Fault("end", "its last message ends with a result, not with what the model makes of it")
