"""Mix files, or rows of several sources, by weights."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.core.errors import UsageError
from virc.data.convert.subset import shares
from virc_extras.make.operator import LeftOut, Means, Measured, Plan, Row
from virc_extras.make.operators.select import column_of

_Weight = Annotated[float, Meta(gt=0)]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is taken of what.

    Args:
        weights: of each file, in order; or, with `column`, of each value. Left out, files and values weigh the same.
        column: which names the source of a row; left out, sources are files.
        rows: how many in all; left out, as many as there are without a row twice.
        repeat: take rows of a source again if it has too few.
        shuffle: in random order; else source by source.
    """

    weights: list[_Weight] | dict[str, _Weight] | None = None
    column: str | None = None
    rows: Annotated[int, Meta(ge=1)] | None = None
    repeat: bool = False
    shuffle: bool = True


def measure(row: Row, means: Means[Options]) -> str | LeftOut:
    column, weights = means.options.column, means.options.weights
    value = row.source if column is None else column_of(row, column)
    if value is None:
        return LeftOut("missing", f"it has no {column}")
    return (
        LeftOut("source", f"{value} has no weight")
        if isinstance(weights, dict) and str(value) not in weights
        else str(value)
    )


def plan(measured: Iterable[Measured], means: Means[Options]) -> Plan:
    options, sources, ids = means.options, dict[str, list[int]](), dict[int, str]()
    met = dict[str | int, str]()
    for each in measured:
        sources.setdefault(each.value, []).append(each.number)
        if met.setdefault(each.id, each.value) != each.value:  # rows of several files may share ids
            ids[each.number] = f"{each.id}-{each.value}"
    if not sources:
        return Plan(())
    names = sorted(sources, key=int if options.column is None else str)
    weights = _weights(options.weights, names)
    order, out = list[int](), dict[int, LeftOut]()
    exact = [Fraction(weight).limit_denominator(10**6) for weight in weights.values()]
    size = options.rows or round(min(len(sources[name]) / weight for name, weight in weights.items()) * sum(exact))
    counts = shares(exact, [len(sources[name]) for name in weights], size)
    for name, count in zip(weights, counts, strict=True):
        rows = sources[name]
        means.random.shuffle(rows)
        if count > len(rows) and not options.repeat:
            raise UsageError(f"source {name} has {len(rows)} rows, and {count} are wanted", "«--set repeat=true»")
        order += [rows[at % len(rows)] for at in range(count)]
        out |= dict.fromkeys(rows[count:], LeftOut("weight", f"{count} of {len(rows)} rows of source {name} are taken"))
    if options.shuffle:
        means.random.shuffle(order)
    return Plan(order, out, ids=ids)


def _weights(given: Sequence[float] | dict[str, float] | None, names: Sequence[str]) -> dict[str, float]:
    if isinstance(given, dict):
        if absent := given.keys() - set(names):
            raise UsageError(f"weights names {min(absent)!r}, which no row has", "leave it out")
        return given
    if given is not None and len(given) != len(names):
        raise UsageError(
            f"there are {len(given)} weights for {len(names)} sources with rows", "«--set 'weights=[2, 1]'»"
        )
    return dict(zip(names, given or [1.0] * len(names), strict=True))
