"""The order in which an engine takes rows, if a stage has a curriculum."""

import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import isfinite

from virc.core.errors import ConfigError, DataError
from virc.core.seeds import derived
from virc.core.text import plain
from virc.data.formats.registry import NumberedRow
from virc.stages.sft import Curriculum, StageConfig

MAX_LISTED = 8


def parts(rows: Iterable[NumberedRow], config: StageConfig) -> dict[str, list[NumberedRow]]:
    """The rows of each part of a stage's curriculum by its name, in the order in which they are learnt from.

    Raises:
        ConfigError: a value is in two parts.
        DataError: a row lacks the column, or its value is of no part.
    """
    if (curriculum := config.curriculum) is None:
        return {}
    values = [value for part in curriculum.parts for value in {*map(str, part)}]
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise ConfigError(f"curriculum.parts has {plain(twice, 40)!r} in two parts", "name each value once")
    taken = [*rows]
    if config.order == "shuffled":
        random.Random(derived(config.seed, "curriculum")).shuffle(taken)
    names = {str(value): ", ".join(map(str, part)) for part in curriculum.parts for value in part}
    found: dict[str, list[NumberedRow]] = {name: [] for name in dict.fromkeys(names.values())}
    for row in taken:
        found.setdefault(_part(row, curriculum, names), []).append(row)
    return found if names else dict(sorted(found.items(), key=lambda part: float(part[0])))


def _part(row: NumberedRow, curriculum: Curriculum, names: Mapping[str, str]) -> str:
    column = curriculum.column
    value = row.record.extra.get(column) if row.record else None
    if value is None:
        raise DataError(f"row {row.number} has no {column!r}, by which the curriculum orders rows")
    if names and str(value) not in names:
        sentence = f"row {row.number} has the {column} {plain(value, 40)!r}, which is in no part of the curriculum"
        raise DataError(sentence, f"curriculum.parts has {plain(', '.join(names), 100)}; or leave such rows out")
    if not names:
        with suppress(TypeError, ValueError, OverflowError):
            if isfinite(number := float(value)):
                return str(number or 0.0).removesuffix(".0")
        sentence = f"row {row.number} has the {column} {plain(value, 40)!r}, which is no number"
        raise DataError(sentence, "curriculum: {column: NAME, parts: [[VALUE], [VALUE]]}")
    return names[str(value)]


def text(found: Mapping[str, int], curriculum: Curriculum, order: str) -> str:
    names = [*found]
    listed = "; then ".join(f"{name}: {found[name]}" for name in names)
    if len(found) > MAX_LISTED:
        listed = f"{len(found)} parts from {names[0]} to {names[-1]}"
    within = "shuffled within" if order == "shuffled" else "as written within"
    return f"rows by {curriculum.column}, {within} each part: {listed}"
