"""The parts of conversations that show their chat protocol: system message, user turns and tool calls."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate, count

import msgspec

from virc.core.errors import DataError
from virc.core.text import clause
from virc.data.protocol.votes import FirstTurn, ToolTurn
from virc.data.rows.record import MARK, Record, images_of
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.images import image_size
from virc.reasoning.messages import FormatError, ToolText, parse
from virc.tools import registry as tools

_MAX_TEXT = 64 * 2**20  # characters of user turns that are kept
_LOOKED_AT = 8  # rows whose images are read, to tell width from height


class Conversation(msgspec.Struct, frozen=True):
    """The parts of a record; `number` is that of the row, from 1.

    Args:
        turns: of the user, but the first.
        calls: those that can be read, each with the number of images shown before it.
        units: replies.
    """

    number: int
    system: str
    first: FirstTurn
    turns: list[ToolTurn]
    calls: list[tuple[ToolText, int]]
    units: int


def gathered(
    records: Iterable[Record], numbers: Iterable[int] | None = None, system: str | None = None
) -> list[Conversation]:
    """The parts of these records; of the first of them where their texts are too long to keep all.

    Args:
        numbers: of their rows; from 1 where none are given.
        system: the system message of records that were saved without it; None: every record must have it.
    """
    rows: list[Conversation] = []
    room = _MAX_TEXT
    for number, record in zip(numbers or count(1), records, strict=False):
        try:
            row = _row(number, record, system)
        except (DataError, FormatError, ToolError) as error:
            raise DataError(f"row {number}: {clause(error)}") from None
        rows.append(row)
        room -= len(row.first.text) + sum(len(turn.text) for turn in row.turns)
        if room < 0:
            break
    if not rows:
        raise DataError("there are no rows to find a chat protocol in")
    return rows


def _row(number: int, record: Record, given: str | None) -> Conversation:
    system, led = _system(record, given)
    messages, shown = record.messages[led:], images_of(record)[led:]
    if any(message.role != ("user", "assistant")[at % 2] for at, message in enumerate(messages)):
        raise DataError("its turns do not alternate between user and assistant")
    if not shown[0]:
        raise DataError("its first user turn shows no image")
    first = FirstTurn(
        number, _after_marks(messages[0].content, led + 1), len(shown[0]), record.question, _size(number, record, 0)
    )
    turns, calls = [], []
    seen_before = list(accumulate(map(len, shown), initial=0))
    for at in range(1, len(messages), 2):
        followed = at + 1 < len(messages)
        call, seen = _call(messages[at].content, followed), seen_before[at]
        calls += [(call, seen)] if call else []
        if call and followed:
            position, count = led + at + 2, len(shown[at + 1])
            if count != 1:
                raise DataError(f"message {position} shows {count} images where a tool gives one")
            text = _after_marks(messages[at + 1].content, position)
            turns.append(ToolTurn(number, text, seen, tools.get(call.name).TEMPLATE, _size(number, record, seen)))
    return Conversation(number, system, first, turns, calls, len(messages[1::2]))


def _system(record: Record, given: str | None) -> tuple[str, int]:
    """The system message of a record that has turns, and how many of its messages it takes."""
    own = next((message.content for message in record.messages[:1] if message.role == "system"), None)
    led = int(own is not None)
    if len(record.messages) <= led:
        raise DataError("it has no conversation")
    if own is None and given is None:
        raise DataError("it has no system message")
    if own is not None and given and own != given:
        raise DataError("its system message is not the one that was given")
    return own or given or "", led


def _after_marks(content: str, number: int) -> str:
    count = content.count(MARK)
    if not content.startswith(MARK * count):
        raise DataError(f"message {number} has an image within its text, not before it")
    return content[len(MARK) * count :]


def _call(content: str, required: bool) -> ToolText | None:
    """The tool call of a turn; None where it has none or cannot be read, unless a call is required."""
    try:
        tool = parse(content).tool
    except FormatError:
        if required:
            raise
        return None
    if tool is None and required:
        raise DataError("it continues after its answer")
    return tool


def _size(number: int, record: Record, index: int) -> Size | None:
    if number > _LOOKED_AT or index >= len(record.images):
        return None
    with suppress(OSError, DataError):
        return image_size(record.images[index].read(), "")
    return None
