"""What LLaMA-Factory says while it trains on preferences: the same as ever, and how far apart the two sides are."""

from collections.abc import Callable, Iterable

import msgspec

from virc.engines.llamafactory.log import METRICS, STARTUP, cause, device_gib, seconds_a_step, started
from virc.engines.llamafactory.log import reader as of_supervised
from virc.runs.metrics import Metric
from virc.runs.run import Info

__all__ = ["METRICS", "STARTUP", "cause", "device_gib", "reader", "seconds_a_step", "started"]


class _Sides(msgspec.Struct):
    """What `start` adds to a line of `METRICS`."""

    margin: float | None = None
    accuracy: float | None = None
    chosen: float | None = None
    rejected: float | None = None


def reader(info: Info, attempt: int, known: Iterable[Metric]) -> Callable[[bytes], Metric | None]:
    """What reads the lines of an attempt; arguments as of `engines.llamafactory.log.reader`."""
    read = of_supervised(info, attempt, known)
    return lambda line: with_sides(read(line), line)


def with_sides(found: Metric | None, line: bytes) -> Metric | None:
    """A line's metric with the margin, the accuracy and the rewards of both sides."""
    if found is None:
        return None
    try:
        sides = msgspec.json.decode(line, type=_Sides)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # one of them was no number
        return found
    return msgspec.structs.replace(
        found, margin=sides.margin, accuracy=sides.accuracy, chosen_reward=sides.chosen, rejected_reward=sides.rejected
    )
