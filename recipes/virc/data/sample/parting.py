"""Where two rollouts of a problem part: the turns that both have, and the reply of each that is not the other's."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from virc.data.rows.record import MARK
from virc.data.rows.results import TURN
from virc.reasoning.images import Shown
from virc.reasoning.trace import Message, Trace
from virc.solving.one import Attempt

Apart = Literal["same", "shown", "inside", "marks", "refused"]
"""Why two rollouts are no pair; the words are in `virc.data.sample.told`."""


class Parted(msgspec.Struct, frozen=True):
    """Two replies to the same messages.

    Args:
        shared: the messages that both follow, with the images of the better rollout.
    """

    shared: Sequence[Message]
    better: str
    worse: str


def parted(better: Attempt, worse: Attempt, alike: bool = True) -> Parted | Apart:
    """Where two rollouts part, or why they are no pair.

    A reply that was not taken can be the worse one, not the better one.

    Args:
        alike: both must have been shown the same images; else the images of the better one count.
    """
    turns = (_replies(better.trace), _replies(worse.trace))
    first = next((at for at, (one, other) in enumerate(zip(*turns, strict=False)) if one[1] != other[1]), None)
    if first is None:
        return "same"
    (end, reply), (other_end, other_reply) = (each[first] for each in turns)
    if end == len(better.trace.messages):
        return "refused"
    before, beside = better.trace.messages[:end], worse.trace.messages[:other_end]
    if not _same(before, beside) or (alike and _digests(better, before) != _digests(worse, beside)):
        return "shown"
    return between(before, reply, other_reply)


def between(before: Sequence[Message], better: str, worse: str) -> Parted | Apart:
    """Two replies to these messages, or why a row cannot hold them."""
    if better == worse:
        return "same"
    if before[-1].role != "user":
        return "inside"
    if any(mark in text for mark in (MARK, TURN) for text in (better, worse, *(each.text for each in before))):
        return "marks"
    return Parted(before, better, worse)


def images_of(messages: Sequence[Message], images: Sequence[Shown]) -> Sequence[Shown]:
    """Those of a history that these messages show: its first ones."""
    return images[: sum(len(each.images) for each in messages)]


def _replies(trace: Trace) -> list[tuple[int, str]]:
    """Each reply with its position in the messages; one that was not taken stands behind them."""
    taken = [
        (at, each.text) for at, each in enumerate(trace.messages) if each.role == "assistant" and not each.inserted
    ]
    return [*taken, *((len(trace.messages), each.text) for each in trace.pending[-1:])]


def _same(one: Sequence[Message], other: Sequence[Message]) -> bool:
    told = ([(each.role, each.text, each.images, each.at) for each in messages] for messages in (one, other))
    first, second = told
    return first == second


def _digests(attempt: Attempt, messages: Sequence[Message]) -> list[bytes]:
    return [shown.digest for shown in images_of(messages, attempt.images)]
