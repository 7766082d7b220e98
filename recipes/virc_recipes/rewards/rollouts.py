"""The reward of a whole rollout: its units as a total scores them, and what is made of those.

A total file may define

    whole(units, t) -> float        `units` are the rewards of the units in their order, `t` is the last unit's, with
                                    `t.ended` "answer", "format" (a reply was not taken) or "length" (no answer in
                                    the turns and tokens of a rollout)

Where it defines none, `whole` here stands for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from PIL import Image

from virc_recipes import rewards
from virc_recipes.data.record import MARK, Message, Picture, Record
from virc_recipes.errors import DataError
from virc_recipes.reasoning.images import open_image
from virc_recipes.reasoning.protocol import Protocol
from virc_recipes.reasoning.resize import Grid
from virc_recipes.reasoning.session import Done, Reply, Session
from virc_recipes.reasoning.trace import Trace
from virc_recipes.rewards import Scored, Terms, Total
from virc_recipes.rewards.means import Means, UnscoredError
from virc_recipes.rewards.sample import Prompt, Sample, sample

Ended = Literal["answer", "format", "length"]


class Rollout(msgspec.Struct, frozen=True):
    """A rollout that was scored.

    Args:
        total: None where a term that it needs could not be had.
        units: the rewards of its units.
        ended: how.
    """

    total: float | None
    units: Sequence[Scored]
    ended: Ended

    @property
    def terms(self) -> dict[str, float | None]:
        """The mean of each term over the units that it applies to; None where there is none."""
        names = self.units[0].terms if self.units else {}
        return {name: _mean([unit.terms[name] for unit in self.units]) for name in names}


def whole(units: Sequence[float], t: Any) -> float:
    """The last unit's reward, which is that of the answer, and the mean of those before it; a fault is worth -1.

    Without an answer the looks count alone. From -1 to 1.8 where units go from -1 to 1 and answers to 0.8.
    """
    if t.ended == "format":
        return -1.0
    looks = units[:-1] if t.ended == "answer" else units
    mean = sum(looks) / len(looks) if looks else 0.0
    return mean + (units[-1] if t.ended == "answer" else 0.0)


async def score(samples: Sequence[Sample], ended: Ended, total: Total, means: Means) -> Rollout:
    """The reward of a rollout, its units scored at the same time.

    Raises:
        VircError: as `rewards.score` does.
    """
    units = await asyncio.gather(*(rewards.score(each, total, means) for each in samples))
    values = [unit.total for unit in units]
    known = [value for value in values if value is not None]
    if len(known) < len(units):
        return Rollout(None, units, ended)
    t = Last(samples[-1].kind, units[-1].terms, units[-1].unscored, ended)
    try:
        return Rollout(rewards.called(total.whole or whole, total.file, known, t), units, ended)
    except UnscoredError:
        return Rollout(None, units, ended)


class Last(Terms):
    """The terms of the last unit, and how the rollout ended."""

    def __init__(self, turn: str | None, values: Any, unscored: Any, ended: Ended) -> None:
        super().__init__(turn, values, unscored)
        self.ended = ended


def samples_of(
    record: Record, trace: Trace, protocol: Protocol, grid: Grid, max_turns: int
) -> tuple[list[Sample], Ended]:
    """The units of a rollout as samples, each under what was shown before it, and how it ended.

    The session is gone through again: the same replies lead to the same images, so none have to be handed over.

    Args:
        record: the problem, with its images.
        trace: what the rollout left.

    Raises:
        DataError: an image of the problem cannot be read.
    """
    session = Session(
        protocol,
        record.question or "",
        [_opened(picture) for picture in record.images],
        grid,
        tolerate=(),
        max_turns=max_turns,
    )
    samples = []
    for text in (*(unit.text for unit in trace.units), *(each.text for each in trace.pending)):
        if isinstance(session.next(), Done):
            break
        samples.append(sample(text, _prompt(record, session)))
        session.feed(Reply(text))
    if not samples:
        raise DataError("the rollout holds no reply")
    return samples, _ended(trace)


def _opened(picture: Picture) -> Image.Image:
    try:
        return open_image(picture.read(), picture.name or "an image")
    except OSError as error:
        raise DataError(f"image {picture.name} cannot be read: {error.strerror}") from None


def _prompt(record: Record, session: Session) -> Prompt:
    """What a session has shown so far."""
    trace = session.trace()
    messages = tuple(Message(each.role, MARK * len(each.images) + each.text) for each in trace.messages)
    known = msgspec.structs.replace(record, messages=messages, images=())
    return Prompt(
        known, session.protocol.coordinates, shown=tuple(session.images), offered=session.protocol.tools
    )


def _ended(trace: Trace) -> Ended:
    if trace.pending:
        return "format"
    return "answer" if trace.units and trace.units[-1].answer is not None else "length"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
