"""What checks work with and find: rules, faults, what a row has, and what all rows of a file have together."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from PIL import Image

from virc.config.taken import Left
from virc.data.formats.registry import Holds
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import system_of
from virc.data.rows.sizes import Spoken
from virc.scoring.references import Reference

UNREAD = "unread"
"""The kind of a fault behind which rows are not read."""
UNREAD_COLUMN = "unread_column"
"""The kind of a fault that a column holds a part of the problem, and is not read."""

USUAL_SYSTEM = "You are a helpful assistant."
"""What LLaMA-Factory writes where a row for Qwen2-VL has no system message."""
FIRST = 32
"""Rows at the beginning that are all kept."""
_SPREAD = 200
"""Fewest rows kept at even distance, where there are so many; there are never twice as many."""
_MAX_WRONG = 5
_Kept = tuple[ParsedRow, bool]


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: its kind, a word to count by, and a clause that says what and what follows.

    `stops`: training, and an evaluation, refuse the row; else they take it as it is. A `leak` counts as one that stops,
    though training never looks at the rows that are held out.
    """

    kind: str
    message: str
    stops: bool = True


class Rules(Spoken, frozen=True, kw_only=True):
    """What rows are checked against: how they are spoken, what rows of their format are, whether a reply may have no
    marks, as it shows no chat protocol, and whether inputs are compared with those of other files.
    """

    holds: Holds
    plain: bool = False
    compared: bool = False


class Counts(msgspec.Struct, frozen=True):
    """What rows have, counted; `+` adds two of them.

    Args:
        images: shown in the rows; an image in several rows counts in each.
        unseen: of them those on the network, which are not fetched.
        square: inputs of 1000 x 1000 px.
        on_grid: other inputs whose sides are already those they are shown with.
        off_grid: the rest of the inputs.
        boxes: written by tool calls, of images that open.
        pixel: of them those that make sense as pixels only.
        permille: as 0..999 of the sides only.
        both: as either.
        unanswered: problems without an answer.
        crowds: boxes around many objects, which are no part of an answer.
    """

    images: int = 0
    unseen: int = 0
    square: int = 0
    on_grid: int = 0
    off_grid: int = 0
    boxes: int = 0
    pixel: int = 0
    permille: int = 0
    both: int = 0
    unanswered: int = 0
    crowds: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__))


class RowResult(msgspec.Struct, frozen=True):
    """What the check of a row found.

    Args:
        key: what no other row of its dataset may have; None where rows of this kind have no id.
        inputs: fingerprints of its inputs, by hashes of their pixels.
        references: how its right answer, and where it is seen, may be read.
    """

    faults: tuple[Fault, ...] = ()
    counts: Counts = Counts()
    key: str | None = None
    inputs: Mapping[int, Image.Image] = {}
    references: Sequence[Reference] = ()


class Survey(msgspec.Struct):
    """What was found.

    Args:
        systems: how many rows have each system message, by its hash; "" stands for none.
        doubts: how many rows have each kind of fault that training takes.
        wrong: numbers of the first rows with faults at which training stops, each with the first of these.
        left: what messages have and nothing uses.
    """

    rows: int = 0
    images: int = 0
    systems: Counter[int] = msgspec.field(default_factory=Counter)
    faulty: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    doubts: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[tuple[int, Fault]] = []
    left: Left = msgspec.field(default_factory=Left)
    _start: list["_Kept"] = []
    _spread: list["_Kept"] = []
    _last: tuple["_Kept", ...] = ()
    _step: int = 1
    """Of the rows at even distance, in a file whose length is not known before its end."""

    def add(self, row: ParsedRow, faults: Sequence[Fault]) -> None:
        self.rows += 1
        self.left.add_all(row.left, f"row {row.number}")
        if stops := [each for each in faults if each.stops]:
            self.faulty += 1
            self.faults.update(dict.fromkeys((fault.kind for fault in stops), 1))
            if len(self.wrong) < _MAX_WRONG:
                self.wrong.append((row.number, stops[0]))
        self.doubts.update(dict.fromkeys((fault.kind for fault in faults if not fault.stops), 1))
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
    def kept(self) -> list[ParsedRow]:
        return [row for row, _ in self._kept()]

    @property
    def whole(self) -> list[ParsedRow]:
        return [row for row, is_whole in self._kept() if is_whole] or self.kept

    def _kept(self) -> list["_Kept"]:
        kept = {each[0].number: each for each in (*self._start, *self._spread, *self._last)}
        return [kept[number] for number in sorted(kept)]

    def with_system(self, text: str) -> int:
        """How many rows have that system message, as LLaMA-Factory writes them: it gives one to those without."""
        return self.systems[hash(text)] + (self.systems[hash("")] if text == USUAL_SYSTEM else 0)


def survey(
    rows: Iterable[ParsedRow],
    check: Callable[[ParsedRow], Iterable[Fault]],
    on_row: Callable[[int], None] = lambda number: None,
) -> Survey:
    found = Survey()
    for row in rows:
        found.add(row, list(check(row)))
        on_row(found.rows)
    return found
