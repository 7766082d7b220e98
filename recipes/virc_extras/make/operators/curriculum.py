"""Order rows by a column, from easy to hard, as a whole or in buckets."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc_extras.make.operator import LeftOut, Means, Measured, Plan, Row
from virc_extras.make.operators.select import column_of, number_of


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How rows are ordered.

    Args:
        column: a number that says how hard a row is; a dot leads into an object.
        first: which rows come first; of a pass rate those with a high one are easy.
        buckets: as many parts of one size, easy ones first, within which rows are shuffled; 0 sorts them.
    """

    column: str
    first: Literal["low", "high"] = "low"
    buckets: Annotated[int, Meta(ge=0, le=10_000)] = 0


def measure(row: Row, means: Means[Options]) -> float | LeftOut:
    value = column_of(row, means.options.column)
    if value is None:
        return LeftOut("missing", f"it has no {means.options.column}")
    number = number_of(value)
    return LeftOut("no number", f"{means.options.column} is no number") if number is None else number


def plan(measured: Iterable[Measured], means: Means[Options]) -> Plan:
    """The rows by their numbers; those of one number stay in their order."""
    options = means.options
    sign = 1 if options.first == "low" else -1
    order = [number for _, number in sorted((sign * each.value, each.number) for each in measured)]
    for bucket in range(options.buckets):
        start, end = (len(order) * at // options.buckets for at in (bucket, bucket + 1))
        part = order[start:end]
        means.random.shuffle(part)
        order[start:end] = part
    return Plan(order)
