"""Whether a conversation is one: who speaks when, and that every mark has its image.

LLaMA-Factory drops most of what is wrong here with no more than a warning, or crashes hours later.
"""

from collections.abc import Iterator

from virc.data.check.problem import has_reference
from virc.data.check.verdict import Fault
from virc.data.formats.registry import Holds
from virc.data.rows.record import MARK, Record
from virc.data.rows.verl import FOREIGN_MARKS

_DROPPED = "LLaMA-Factory drops such a row"


def check(record: Record, holds: Holds) -> Iterator[Fault]:
    """The faults of a row that has, or should have, a conversation."""
    if not record.messages:
        yield Fault("no_messages", f"it has no messages: {_DROPPED}")
        return
    yield from _roles(record)
    yield from _end(record, holds)
    yield from _marks(record, holds)


def _roles(record: Record) -> Iterator[Fault]:
    turns = record.messages[1:] if record.messages[0].role == "system" else record.messages
    first = len(record.messages) - len(turns) + 1
    for at, message in enumerate(turns):
        wanted = "assistant" if at % 2 else "user"
        if message.role != wanted:
            found = f"message {first + at} is of {message.role}, where {wanted} is due"
            yield Fault("roles", f"{found}: {_DROPPED}")
            return


def _end(record: Record, holds: Holds) -> Iterator[Fault]:
    last = record.messages[-1].role
    if holds == "solutions" and last != "assistant":
        yield Fault("end", f"it ends with a message of {last}, not assistant: {_DROPPED}")
    if holds == "prompts" and last != "user" and not has_reference(record):
        yield Fault("end", f"it ends with a message of {last}, not user: the model would go on after itself")


def _marks(record: Record, holds: Holds) -> Iterator[Fault]:
    marks = sum(message.content.count(MARK) for message in record.messages)
    if marks != len(record.images):
        yield Fault("marks", f"{marks} {MARK} marks for {len(record.images)} images: the engine stops at it")
    for at, message in enumerate(record.messages, 1):
        if message.role != "user" and MARK in message.content:
            yield Fault(
                "mark_misplaced", f"message {at}, of {message.role}, holds {MARK}: only users show images"
            )
        found = [mark for mark in FOREIGN_MARKS if mark in message.content]
        if found and holds == "solutions":  # readers of prompts say what verl makes of them
            yield Fault(
                "mark_foreign", f"message {at} holds {found[0]}, for which LLaMA-Factory wants a file"
            )
