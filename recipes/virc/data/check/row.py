"""One row, checked by all that concerns rows of its kind; it runs in any process."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from virc.core.text import plain
from virc.data.check import calls, conversation, problem, sizes
from virc.data.check.images import Look, look
from virc.data.check.verdict import Fault, Held, Rules, Verdict
from virc.data.formats.registry import Row
from virc.data.rows.record import Record, inputs_of
from virc.reasoning.calls import Size
from virc.reasoning.grammar import Grammar
from virc.reasoning.images import SQUARE
from virc.reasoning.resize import smart_resize


def check_row(rules: Rules, row: Row) -> Verdict:
    """What is wrong with a row, and what it holds."""
    if row.record is None:
        return Verdict(row.number, faults=(unread(row),))
    record = row.record
    looks = [look(picture) for picture in record.images]
    shown = sizes.as_shown(record, [each.size for each in looks], rules)
    faults = [
        *(Fault("row", plain(flaw)) for flaw in row.flaws),
        *(each.fault for each in looks if each.fault),
        *_faults(record, shown, rules),
    ]
    inputs = [looks[index] for index in inputs_of(record) if index < len(looks)]
    return Verdict(
        row.number,
        record.id,
        tuple(faults),
        _held(record, looks, inputs, shown, rules.grammar),
        _key(record, rules),
        tuple(dict.fromkeys(each.pixels for each in inputs if each.size)),
        _system(record),
    )


def lost(row: Row) -> Verdict:
    """The verdict on a row whose check ended the process that made it."""
    fault = Fault("crash", "checking it ends the process: an image that breaks the decoder, or the memory")
    return Verdict(row.number, row.record.id if row.record else None, (fault,))


def unread(row: Row) -> Fault:
    """The fault of a row that has no record, without its place, which stands beside it."""
    message = row.fault.message if row.fault else "it cannot be read"
    return Fault("row", plain(re.sub(rf"^(?:row|line) {row.number}: ", "", message)))


def _faults(record: Record, shown: Sequence[Size | None], rules: Rules) -> Iterator[Fault]:
    if rules.holds == "problems":
        yield from problem.check_problem(record)
        return
    yield from conversation.check(record, rules.holds)
    if not record.messages:
        return
    replies = sum(message.role == "assistant" for message in record.messages)
    ends = record.messages[-1].role == "assistant"
    if rules.holds == "solutions":
        ending = calls.Ending(replies, required=ends)
    else:
        ending = calls.Ending(replies if problem.has_reference(record) else 0)
        yield from problem.check_prompt(record, calls.offered(rules), rules.grammar)
    yield from sizes.check(record, shown, rules)
    yield from calls.check(record, shown, rules, ending)


def _held(
    record: Record,
    looks: Sequence[Look],
    inputs: Sequence[Look],
    shown: Sequence[Size | None],
    grammar: Grammar,
) -> Held:
    files = [each.size for each in inputs if each.size]
    square = sum(size == SQUARE for size in files)
    on_grid = sum(size == smart_resize(*size) for size in files)
    fits = list(calls.boxes(record, shown, grammar))
    return Held(
        images=len(looks),
        unseen=sum(each == Look() for each in looks),
        square=square,
        on_grid=on_grid,
        off_grid=len(files) - square - on_grid,
        boxes=len(fits),
        pixel=fits.count((True, False)),
        permille=fits.count((False, True)),
        both=fits.count((True, True)),
        unanswered=int(not record.messages and record.answer is None),
    )


def _key(record: Record, rules: Rules) -> str | None:
    """What no other row of the dataset may have: the id, of prompts with the turn."""
    if record.id is None:
        return None
    turn = record.extra.get("turn") if rules.holds == "prompts" else None
    return msgspec.json.encode([record.id, str(turn)]).decode()


def _system(record: Record) -> str | None:
    if not record.messages:
        return None
    return record.messages[0].content if record.messages[0].role == "system" else ""
