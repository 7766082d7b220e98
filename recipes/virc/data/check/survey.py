"""All rows of a file gone through once: what an engine stops at, and some rows to be checked closely."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from virc.data.check.result import Fault
from virc.data.formats.registry import Row
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
        doubts: how many rows have each kind of fault that training takes.
        wrong: numbers of the first rows with faults at which training stops, each with the first of these.
    """

    rows: int = 0
    images: int = 0
    systems: Counter[int] = msgspec.field(default_factory=Counter)
    faulty: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    doubts: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[tuple[int, Fault]] = []
    _start: list["_Kept"] = []
    _spread: list["_Kept"] = []
    _last: tuple["_Kept", ...] = ()
    _step: int = 1
    """Of the rows at even distance, in a file whose length is not known before its end."""

    def add(self, row: Row, faults: Sequence[Fault]) -> None:
        self.rows += 1
        if stops := [each for each in faults if each.stops]:
            self.faulty += 1
            self.faults.update({fault.kind for fault in stops})
            if len(self.wrong) < _MAX_WRONG:
                self.wrong.append((row.number, stops[0]))
        self.doubts.update({fault.kind for fault in faults if not fault.stops})
        if row.record:
            self.images += len(row.record.images)
            self.systems[hash(system_of(row.record))] += 1
        kept = row, not faults
        if len(self._start) < FIRST:
            self._start.append(kept)
        if (self.rows - 1) % self._step == 0:
            self._spread.append(kept)
        if len(self._spread) == 2 * _SPREAD:
            self._spread, self._step = self._spread[::2], 2 * self._step
        self._last = (kept,)

    @property
    def kept(self) -> list[Row]:
        """Rows from the beginning, from the end and at even distance between."""
        return [row for row, _ in self._kept()]

    @property
    def whole(self) -> list[Row]:
        """Those of `kept` without any fault; all where there are none."""
        return [row for row, is_whole in self._kept() if is_whole] or self.kept

    def _kept(self) -> list["_Kept"]:
        kept = {each[0].number: each for each in (*self._start, *self._spread, *self._last)}
        return [kept[number] for number in sorted(kept)]

    def with_system(self, text: str) -> int:
        """How many rows have that system message, as LLaMA-Factory writes them: it gives one to those without."""
        return self.systems[hash(text)] + (self.systems[hash("")] if text == USUAL_SYSTEM else 0)


_Kept = tuple[Row, bool]


def survey(
    rows: Iterable[Row], check: Callable[[Row], Iterable[Fault]], on_row: Callable[[int], None] = lambda number: None
) -> Survey:
    """Go through rows, each checked by `check`; `on_row` gets their number after each."""
    found = Survey()
    for row in rows:
        found.add(row, list(check(row)))
        on_row(found.rows)
    return found
