"""The turns of a conversation: whether they alternate, are in the format, and answer what the row says.

The parser is that of inference; here no deviation is forgiven.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import msgspec

from virc.core.text import plain
from virc.data.check.result import Fault, Rules
from virc.data.formats.registry import Holds
from virc.data.rows.record import MARK, SIDES, Record, answers_of, choices_of, has_reference
from virc.data.rows.results import TURN
from virc.reasoning.grammar import marks
from virc.reasoning.marks.families import all_of
from virc.reasoning.messages import FormatError, Turn, parse
from virc.reasoning.repetition import repeats
from virc.scoring.answers import same_answer

REPEAT_LIMIT = 8
_DROPPED = "engines drop such a row, or stop"

Located = tuple[int, Fault]
"""A fault and the index of the message that has it."""


class ReadTurn(NamedTuple):
    """A turn of the assistant.

    Args:
        at: index of its message.
        number: of the turn, from 1.
        turn: what it says; None of one that shows no format, or is not in it.
        faults: why it is not in the format.
    """

    at: int
    number: int
    turn: Turn | None
    faults: Sequence[Fault]


def read_replies(record: Record, rules: Rules) -> list[ReadTurn]:
    replies = list[ReadTurn]()
    for at, message in enumerate(record.messages):
        if message.role == "assistant":
            image_follows = any(MARK in each.content for each in record.messages[at + 1 : at + 2])
            turn, faults = _read_turn(message.content, len(replies) + 1, rules, image_follows)
            replies.append(ReadTurn(at, len(replies) + 1, turn, faults))
    return replies


def _read_turn(text: str, number: int, rules: Rules, image_follows: bool) -> tuple[Turn | None, Sequence[Fault]]:
    """What a turn says, and why it is not in the format; an image that follows is the result of a call."""
    grammar, limit = rules.grammar, rules.protocol.repeat_limit if rules.protocol else REPEAT_LIMIT
    if not text.strip():
        return None, [Fault("no_answer", f"turn {number} answers nothing")]
    faults = list[Fault]()
    if repeats(text, limit):
        faults.append(Fault("repetition", f"turn {number} repeats a pattern {limit} times in a row"))
    if rules.plain and not marks(text, grammar):
        return None, faults
    try:
        return parse(text, grammar), faults
    except FormatError as error:
        if not rules.shows_errors or error.kind != "json" or image_follows:  # else the next turn says so
            faults.append(Fault(error.kind, f"turn {number}: {error}"))
        return None, faults


def check_answers(replies: Sequence[ReadTurn], record: Record, rules: Rules) -> Iterator[Located]:
    """Whether the last turn alone answers, and answers what the row says; of a prompt, if that is its reference."""
    ends_with_reply = bool(replies) and replies[-1].at == len(record.messages) - 1
    may_answer = rules.holds == "solutions" or (rules.holds == "prompts" and ends_with_reply and has_reference(record))
    answering, required = len(replies) if may_answer else 0, rules.holds == "solutions" and ends_with_reply
    for at, number, turn, _ in replies:
        if turn is None:
            continue
        if number != answering:
            if turn.answer is not None and rules.grammar.calls:  # else each turn answers a question of its own
                yield at, Fault("answer_early", f"turn {number} answers, and is not the last")
        elif turn.answer is None:
            if required:
                yield at, Fault("no_answer", f"the last turn, {number}, calls a tool and does not answer")
        elif not turn.answer:
            yield at, Fault("no_answer", f"turn {number} answers nothing")
        elif accepted := answers_of(record):
            choices = choices_of(record)
            if not any(turn.answer == each or same_answer(turn.answer, each, choices) for each in accepted):
                given, expected = plain(turn.answer, 40), plain(accepted[0], 40)
                yield at, Fault("answer_differs", f"turn {number} answers {given!r}, the row's answer is {expected!r}")


def check_reference(record: Record, replies: Sequence[ReadTurn], offered: Collection[str]) -> Iterator[Fault]:
    """Whether a prompt names the tool that its reference calls."""
    info = record.extra.get("tool_info_gt")
    tool = info.get("name") if isinstance(info, dict) else None
    if tool is not None and tool not in offered:
        sentence = f"tool_info_gt names {plain(tool, 40)!r}, which is not offered: {', '.join(offered)}"
        yield Fault("tool_info", sentence)
    elif has_reference(record) and (turn := replies[-1].turn):
        called = plain(turn.tool.name, 40) if turn.tool else None
        if called != tool:
            sentence = f"tool_info_gt names {tool or 'no tool'}, the reference calls {called or 'none'}"
            yield Fault("tool_info", sentence)


def check_conversation(record: Record, holds: Holds) -> Iterator[Fault]:
    if not record.messages:
        yield Fault("no_messages", f"it has no messages: {_DROPPED}")
        return
    has_system = record.messages[0].role == "system"
    turns = record.messages[1:] if has_system else record.messages
    for number, (message, expected) in enumerate(zip(turns, cycle(("user", "assistant"))), 2 if has_system else 1):
        if SIDES[message.role] != expected:
            yield Fault("roles", f"message {number} is of {message.role}, and {expected} is due: {_DROPPED}")
            break
    last = SIDES[record.messages[-1].role]
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


def check_turn_marks(record: Record) -> Iterator[Fault]:
    """Faults of texts with tokens that open or end a turn, except the `TURN` that joins two replies."""
    texts = {
        f"message {number}": message.content.replace(TURN, "") for number, message in enumerate(record.messages, 1)
    }
    # those of the bases that LLaMA-Factory trains; tokens of images are found when rows are read
    tokens = [mark for mark in all_of("roles", "ends", family="Qwen") if "|" in mark]
    for name, text in (texts | {"its rejected reply": record.rejected or ""}).items():
        if found := [token for token in tokens if token in text]:
            yield Fault("turn_mark", f"{name} holds {found[0]}: LLaMA-Factory reads it as the token around a turn")
