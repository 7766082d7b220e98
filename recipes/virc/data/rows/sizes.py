"""How rows are spoken, and at what sizes their images are shown."""

from collections.abc import Collection, Sequence

import msgspec

from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Record, inputs_of
from virc.reasoning.calls import Size, View, view_of
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.history import input_grid
from virc.reasoning.images import SQUARE
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import QWEN2, Grid, smart_resize


class Spoken(msgspec.Struct, frozen=True):
    """The chat protocol of rows if known, what their boxes mean, and the patch grid that images are seen on."""

    protocol: Protocol | None = None
    coordinates: Coordinates = "pixel"
    grid: Grid = QWEN2

    @property
    def grammar(self) -> Grammar:
        return self.protocol.grammar if self.protocol else TAGS

    @property
    def splits_replies(self) -> bool:
        """Whether replies in rows have results in them, as the chat protocol has it."""
        return self.protocol is not None and self.protocol.results != "user"

    @property
    def shows_errors(self) -> bool:
        """Whether a call that cannot be carried out is a turn like any other, and what is inexact is no fault."""
        return self.protocol is not None and self.protocol.errors == "show"

    def view(self, sizes: Sequence[Size], files: Sequence[Size]) -> View:
        """What a call is checked against that was written when images of these sizes in px had been shown."""
        if self.protocol is None:
            return View(sizes, self.coordinates, originals=files)
        return msgspec.structs.replace(view_of(self.protocol, sizes, files), coordinates=self.coordinates)


def display_sizes(record: Record, files: Sizes, spoken: Spoken, squares: Collection[int] = ()) -> list[Size | None]:
    """(width, height) in px of each image as it is shown; None of one that does not open.

    Args:
        files: the same of their files.
        squares: indices of images that are shown at 1000 x 1000 px, whatever the grid.
    """
    inputs = inputs_of(record)
    return [
        size and (SQUARE if index in squares else display_size(size, spoken, index in inputs))
        for index, size in enumerate(files)
    ]


def display_size(file: Size, spoken: Spoken, is_input: bool = True) -> Size:
    """(width, height) in px at which an image of a file of that size is shown. Raises ValueError: it cannot be."""
    if spoken.protocol is None or not is_input:
        return smart_resize(*file, spoken.grid)
    if spoken.protocol.images == "square_1000":
        return SQUARE
    return smart_resize(*file, input_grid(spoken.protocol, spoken.grid))
