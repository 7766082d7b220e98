"""Hold rows out: no picture is on both sides."""

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.data.convert.subset import Groups
from virc_extras.make.operator import Means, Measured, Plan, Row
from virc_extras.make.operators.select import column_of


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held out.

    Args:
        share: of the rows, or the closest below it.
        column: whose values are not on both sides either, such as a document's name.
        name: of the file next to NEW that gets the held-out rows.
    """

    share: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    column: str | None = None
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}\Z")] = "heldout"


def measure(row: Row, means: Means[Options]) -> list[str]:
    keys = [hashlib.blake2b(means.data(row, at), digest_size=9).hexdigest() for at in range(len(row.images))]
    value = column_of(row, means.options.column) if means.options.column else None
    return keys if value is None else [*keys, f"column {value}"]


def plan(measured: Iterable[Measured], means: Means[Options]) -> Plan:
    """Rows that share a picture, also by way of other rows, are held out together."""
    groups, numbers = Groups(means.seed), list[int]()
    for each in measured:
        groups.add(each.value or [f"row {each.number}"])
        numbers.append(each.number)
    parts: tuple[list[int], list[int]] = [], []
    for number, is_held in zip(numbers, groups.part(means.options.share), strict=True):
        parts[is_held].append(number)
    return Plan(parts[0], others={means.options.name: parts[1]})
