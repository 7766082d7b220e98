"""Keep rows by a column: within bounds, equal to a value, or with a text in it."""

from math import isfinite
from statistics import pvariance
from typing import Any

import msgspec

from virc.core.text import plain
from virc_extras.make.operator import LeftOut, Made, Means, Row, kept


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows are kept.

    Args:
        column: the column; a dot leads into an object.
        min: least value, or length of a list.
        max: most value, or length of a list.
        min_variance: least variance of a list of numbers, such as of the rewards of a row's rollouts.
        equal: the value, or one of several.
        contains: a text in it, whatever its case; or a member of a list.
        missing: keep rows without the column, too.
    """

    column: str
    min: float | None = None
    max: float | None = None
    min_variance: float | None = None
    equal: str | bool | float | list[str | float] | None = None
    contains: str | None = None
    missing: bool = False


def run(row: Row, means: Means[Options]) -> Made:
    options = means.options
    value = column_of(row, options.column)
    if value is None:
        return kept(row.fields) if options.missing else Made((), LeftOut("missing", f"it has no {options.column}"))
    out = _fault(value, options)
    return Made((), LeftOut(out, f"{options.column} is {plain(value, 80)}")) if out else kept(row.fields)


def column_of(row: Row, name: str) -> Any:
    value: Any = row.fields
    for part in name.split(".") if name not in row.fields else [name]:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _fault(value: Any, options: Options) -> str | None:
    wanted = options.equal if isinstance(options.equal, list) else [options.equal]
    if options.equal is not None and not any(_is_same(value, each) for each in wanted):
        return "equal"
    several, text = value if isinstance(value, list) else None, options.contains
    folded = str(value).casefold()
    if text is not None and not (text.casefold() in folded if several is None else text in map(str, several)):
        return "contains"
    numbers = [number for each in several or () if (number := number_of(each)) is not None]
    variance = pvariance(numbers) if several and len(numbers) == len(several) else None
    number = number_of(value) if several is None else len(several)
    found = {"min_variance": variance, "min": number, "max": number}
    for rule, measured in found.items():
        bound = getattr(options, rule)
        if bound is not None and measured is None:
            return "no number"
        if bound is not None and measured is not None and (measured > bound if rule == "max" else measured < bound):
            return rule
    return None


def number_of(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _is_same(value: Any, wanted: Any) -> bool:
    """Whether both are the same number, or the same text; 1 is 1.0, and true is also the text of it."""
    if bool in (type(value), type(wanted)):
        return str(value).lower() == str(wanted).lower()
    number = number_of(value)
    return str(value) == str(wanted) or (number is not None and number == number_of(wanted))
