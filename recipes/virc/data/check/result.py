"""What the check of one row works with and finds: the rules, the faults, and what the row has."""

from collections.abc import Sequence

import msgspec

from virc.data.formats.registry import Holds
from virc.data.rows.record import Id
from virc.reasoning.calls import Size, View, view_of
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.scoring.references import Reference

UNREAD = "unread"
"""The kind of a fault behind which rows are not read."""
UNREAD_COLUMN = "unread_column"
"""The kind of a fault that a column holds a part of the problem, and is not read."""


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: its kind, a word to count by, and a clause that says what and what follows.

    `stops`: training, and an evaluation, refuse the row; else they take it as it is. A `leak` counts as one that stops,
    though training never looks at the rows that are held out.
    """

    kind: str
    message: str
    stops: bool = True


class Rules(msgspec.Struct, frozen=True):
    """What rows are checked against: what rows of their format are, what boxes mean, the chat protocol if known,
    the patch grid that images are seen on, and whether a reply may have no marks, as it shows no chat protocol.
    """

    holds: Holds
    coordinates: Coordinates = "pixel"
    protocol: Protocol | None = None
    grid: Grid = QWEN2
    plain: bool = False

    @property
    def grammar(self) -> Grammar:
        return self.protocol.grammar if self.protocol else TAGS

    def view(self, sizes: Sequence[Size], files: Sequence[Size]) -> View:
        """What a call is checked against that was written when images of these sizes in px had been shown.

        Args:
            files: (width, height) in px of the file of every input.
        """
        if self.protocol is None:
            return View(sizes, self.coordinates, originals=files)
        return msgspec.structs.replace(view_of(self.protocol, sizes, files), coordinates=self.coordinates)


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

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__))


class RowResult(msgspec.Struct, frozen=True):
    """One row after its check.

    Args:
        key: what no other row of its dataset may have; None where rows of this kind have no id.
        inputs: hashes of the pixels of its inputs.
        system: its system message, "" for none; None where the row has no conversation.
        references: how its right answer, and where it is seen, may be read.
    """

    number: int
    id: Id | None = None
    faults: tuple[Fault, ...] = ()
    counts: Counts = Counts()
    key: str | None = None
    inputs: tuple[int, ...] = ()
    system: str | None = None
    references: Sequence[Reference] = ()
