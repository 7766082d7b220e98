"""The reward of a whole rollout: the rewards of its units, combined.

A total file may define

    whole(units, t) -> float        `units` are the rewards of the units in their order, `t` is the last unit's, with
                                    `t.ended` "answer", "format" (a reply was not taken) or "length" (no answer in
                                    the turns and tokens of a rollout), `t.turns`, the number of its units, and
                                    `t.tool_calls`, of them those that called a tool and were taken; `t.answer_text`
                                    is what it answers, None without, `t.reply_text` all that the model wrote
    group(rewards, ts) -> list[float]   the rewards of all rollouts of one prompt as they are compared, in the place
                                    of `rewards`; `ts` are the last units' of each

Where it defines no `whole`, the one here is used; where it defines no `group`, `groups` of the system's YAML say what
becomes of rewards, and without those they stay as they are.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.data.live import displayed, session_of
from virc.data.rows.record import Message, Picture, Record, content_of
from virc.reasoning.calls import Size
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Done, Rejected, Reply, Session, Unit
from virc.reasoning.trace import Ended, Trace
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.registry import Scored, Terms, Total
from virc.rewards.sample import CallResult, Prompt, Sample, StoredImage, parsed

_ENDS: Mapping[str | None, Ended] = {"answer": "answer", "tool": "length", None: "format"}


class Rollout(msgspec.Struct, frozen=True):
    """A rollout that was scored: its total (None where a term could not be had), its units, and what `group` reads."""

    total: float | None
    units: Sequence[Scored]
    last: "Last"

    @property
    def ended(self) -> Ended:
        return self.last.known.ended

    @property
    def terms(self) -> dict[str, float | None]:
        names = self.units[0].terms if self.units else {}
        known = {name: [each for unit in self.units if (each := unit.terms[name]) is not None] for name in names}
        return {name: sum(values) / len(values) if values else None for name, values in known.items()}

    @property
    def unscored(self) -> dict[str, str]:
        """Why terms could not be had, in any of the units."""
        return {name: why for unit in self.units for name, why in unit.unscored.items()}


def whole(units: Sequence[float], t: Any) -> float:
    """The last unit's reward, which is that of the answer, and the mean of those before it; a fault is worth -1.

    Without an answer the looks count alone. From -1 to 1.8 where units go from -1 to 1 and answers to 0.8.
    """
    if t.ended == "format":
        return -1.0
    looks = units[:-1] if t.ended == "answer" else units
    mean = sum(looks) / len(looks) if looks else 0.0
    return mean + (units[-1] if t.ended == "answer" else 0.0)


async def score(samples: Sequence[Sample], ended: Ended, total: Total, context: RewardContext) -> Rollout:
    """The reward of a rollout, its units scored at the same time."""
    units = await asyncio.gather(*(rewards.score(each, total, context) for each in samples))
    values = [unit.total for unit in units]
    known = [value for value in values if value is not None]
    last = last_of(samples, units[-1], ended)
    if len(known) < len(units):
        return Rollout(None, units, last)
    try:
        return Rollout(rewards.called(total.whole or whole, total.file, known, last), units, last)
    except UnscoredError:
        return Rollout(None, units, last)


class Known(msgspec.Struct, frozen=True):
    """The fields of `Last`, in a form that can be written as JSON: verl passes it between processes."""

    turn: str | None
    values: Mapping[str, float | None]
    unscored: Mapping[str, str]
    ended: Ended
    turns: int
    tool_calls: int
    answer_text: str | None = None
    reply_text: str = ""


class Last(Terms):
    """The terms of the last unit, how the rollout ended, its units and tool calls, its answer and what it wrote."""

    def __init__(self, known: Known) -> None:
        super().__init__(known.turn, known.values, known.unscored)
        self.known = known
        self.ended, self.turns, self.tool_calls = known.ended, known.turns, known.tool_calls
        self.answer_text, self.reply_text = known.answer_text, known.reply_text


def ends(last: Sample) -> Ended:
    return _ENDS[last.kind]


def last_of(samples: Sequence[Sample], scored: Scored, ended: Ended) -> Last:
    calls = sum(each.kind == "tool" for each in samples)
    reply = "\n".join(each.text for each in samples)
    end = samples[-1]
    return Last(Known(end.kind, scored.terms, scored.unscored, ended, len(samples), calls, end.answer, reply))


def grouped(total: Total, rewards_: Sequence[float], lasts: Sequence[Last]) -> list[float]:
    if total.group is None:
        return list(rewards_)
    return rewards.called_for_all(total.group, total.file, rewards_, lasts)


def samples_of(
    record: Record,
    trace: Trace,
    protocol: Protocol,
    grid: Grid,
    max_turns: int,
    on_tool_failure: Callable[[str], None] | None = None,
) -> tuple[list[Sample], Ended]:
    """The units of a rollout as samples, each with a prompt of what was shown before it, and how the rollout ended.

    A new session gets the replies, which lead to the same images in it. Raises DataError: an image is unreadable.
    """

    def show(picture: Picture, protocol: Protocol, grid: Grid, place: object, file_size: Size | None) -> Shown:
        return displayed(StoredImage(picture).pixels().pixels, protocol, grid, file_size)

    session = session_of(
        record, protocol, grid, show, tolerate=(), max_turns=max_turns, on_tool_failure=on_tool_failure
    )
    return samples_from_replies(record, trace.replies.texts, session), trace.replies.ended


def samples_from_replies(record: Record, replies: Iterable[str], session: Session) -> list[Sample]:
    """The replies as samples, each with a prompt of what a new session shows before it. Raises DataError: no reply."""
    samples, before, files = [], list[CallResult](), session.history.originals
    for text in replies:
        if isinstance(session.next(), Done):
            break
        read = parsed(text, _prompt(record, session, files, tuple(before)))
        fed = session.feed(Reply(text))
        if isinstance(fed, Rejected):
            calls = read.turn.calls if read.turn else ()
            read = read.carrying_out([CallResult(tool, fault=fed.reason) for tool in calls]) if calls else read
        elif fed.results:
            results = _results(fed, read, session.images)
            before += results
            read = read.carrying_out(results)
        samples.append(read)
    if not samples:
        raise DataError("the rollout holds no reply")
    return samples


def _results(unit: Unit, read: Sample, images: Sequence[Shown]) -> list[CallResult]:
    tools = read.turn.calls if read.turn else ()
    return [
        CallResult(
            tool, each.call, each.error, images[each.images[0]].size if each.images else None, images=each.images
        )
        for tool, each in zip_longest(tools, unit.results[: len(tools) or 1])
    ]


def _prompt(record: Record, session: Session, files: Sequence[Size], before: Sequence[CallResult]) -> Prompt:
    trace = session.trace()
    # A result inside the model's own turn is a message of its own here, so that replies stand alone.
    messages = tuple(Message("user" if each.inserted else each.role, content_of(each)) for each in trace.messages)
    known = msgspec.structs.replace(record, messages=messages, images=())
    protocol = session.protocol
    return Prompt(
        known, protocol.coordinates, shown=tuple(session.images), files=files, protocol=protocol, carried=before
    )
