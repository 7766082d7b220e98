"""Order rows by a column, from easy to hard, as a whole, in buckets or in parts that are named."""

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
        parts: values of the column in place of numbers, those of each part; rows are shuffled within a part.
        buckets: as many parts of one size, easy ones first, within which rows are shuffled; 0 sorts them.
    """

    column: str
    first: Literal["low", "high"] = "low"
    parts: tuple[tuple[str | int, ...], ...] = ()
    buckets: Annotated[int, Meta(ge=0, le=10_000)] = 0


def measure(row: Row, means: Means[Options]) -> float | LeftOut:
    value = column_of(row, means.options.column)
    if value is None:
        return LeftOut("missing", f"it has no {means.options.column}")
    if parts := means.options.parts:
        at = next((at for at, part in enumerate(parts) if str(value) in map(str, part)), None)
        return LeftOut("no part", f"{means.options.column} {value!r} is in none of parts") if at is None else at
    number = number_of(value)
    return LeftOut("no number", f"{means.options.column} is no number") if number is None else number


def plan(measured: Iterable[Measured], means: Means[Options]) -> Plan:
    """The rows by their numbers or parts; those of one number stay in their order."""
    options, rows = means.options, [*measured]
    if options.parts:
        means.random.shuffle(rows)
        return Plan([each.number for each in sorted(rows, key=lambda each: each.value)])
    sign = 1 if options.first == "low" else -1
    order = [number for _, number in sorted((sign * each.value, each.number) for each in rows)]
    for bucket in range(options.buckets):
        start, end = (len(order) * at // options.buckets for at in (bucket, bucket + 1))
        part = order[start:end]
        means.random.shuffle(part)
        order[start:end] = part
    return Plan(order)
