"""All rows of a file gone through once: what an engine stops at, and some rows to be checked closely."""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from virc.data.check import llamafactory
from virc.data.check.result import Fault
from virc.data.formats.registry import Row, Source, get
from virc.data.rows.record import system_of

USUAL_SYSTEM = "You are a helpful assistant."
"""What LLaMA-Factory writes where a row for Qwen2-VL has no system message."""
FIRST = 32
"""Rows at the beginning that are all kept."""
_SPREAD = 200
"""Fewest rows kept at even distance, where there are so many; there are never twice as many."""
_MAX_WRONG = 5


class Survey(msgspec.Struct):
    """What was found.

    Args:
        systems: how many rows have each system message, by its hash; "" stands for none.
        wrong: numbers of the first rows with faults, each with its first fault.
        kept: rows from the beginning, from the end and at even distance between.
    """

    rows: int = 0
    images: int = 0
    systems: Counter[int] = msgspec.field(default_factory=Counter)
    faulty: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[tuple[int, Fault]] = []
    kept: list[Row] = []

    def with_system(self, text: str) -> int:
        """How many rows have that system message, as LLaMA-Factory writes them: it gives one to those without."""
        return self.systems[hash(text)] + (self.systems[hash("")] if text == USUAL_SYSTEM else 0)


def survey(source: Source, on_row: Callable[[int], None] = lambda number: None) -> Survey:
    """Go through the rows of a file; `on_row` gets their number after each. Raises DataError: no row can be read."""
    return through(get(source.format).read(source), llamafactory.check, on_row)


def through(rows: Iterable[Row], check: Callable[[Row], Iterable[Fault]], on_row: Callable[[int], None]) -> Survey:
    """Go through rows, each checked by `check`; otherwise as `survey`."""
    found = Survey()
    start: list[Row] = []
    spread: list[Row] = []
    last: list[Row] = []
    step = 1  # of the rows at even distance, in a file whose length is not known before its end
    for row in rows:
        found.rows += 1
        faults = list(check(row))
        found.faulty += bool(faults)
        found.faults.update({fault.kind for fault in faults})
        if faults and len(found.wrong) < _MAX_WRONG:
            found.wrong.append((row.number, faults[0]))
        if row.record:
            found.images += len(row.record.images)
            found.systems[hash(system_of(row.record))] += 1
        if len(start) < FIRST:
            start.append(row)
        if (found.rows - 1) % step == 0:
            spread.append(row)
        if len(spread) == 2 * _SPREAD:
            spread, step = spread[::2], 2 * step
        last = [row]
        on_row(found.rows)
    kept = {row.number: row for row in (*start, *spread, *last)}
    found.kept = [kept[number] for number in sorted(kept)]
    return found
