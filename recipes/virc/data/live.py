"""A new session on the problem of a row, as its images and its columns say."""

from collections.abc import Callable, Collection

from PIL import Image

from virc.core.errors import DataError
from virc.core.text import clause
from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Picture, Record, file_sizes_of, inputs_of
from virc.reasoning.calls import Size
from virc.reasoning.history import show_input
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.media import MediaPlace, give_media, places_of
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import SOLVE, Session
from virc.tools.registry import known

Show = Callable[[Picture, Protocol, Grid, MediaPlace | None, Size | None], Shown]
"""Opens a picture of a question and shows it; it gets its place in a clip, and the `file_size` of `displayed`."""


def session_of(
    record: Record, protocol: Protocol, grid: Grid, show: Show, *, max_turns: int,
    tolerate: Collection[str] = SOLVE, on_tool_failure: Callable[[str], None] | None = None,
) -> Session:  # fmt: skip
    """Raises DataError: an image cannot be shown, or a column about images is wrong."""
    pictures = [record.images[index] for index in inputs_of(record)]
    sizes: Sizes = file_sizes_of(record) or [None] * len(pictures)
    placed = zip(pictures, places_of(record.extra, len(pictures)), sizes, strict=True)
    try:
        images = [show(picture, protocol, grid, place, size) for picture, place, size in placed]
        give_media(images, record.extra, record.folder)
        return Session(
            protocol, record.question or "", images, grid,
            tolerate=tolerate, max_turns=max_turns, tools=known(), on_tool_failure=on_tool_failure,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(clause(error)) from None


def displayed(image: Image.Image | OpenedImage, protocol: Protocol, grid: Grid, file_size: Size | None) -> Shown:
    """A picture of a question as it is shown; `file_size` is that of its file, of which the row may have less."""
    shown = show_input(image, protocol, grid)
    if file_size and protocol.images == "smart" and image.size != file_size:
        shown.original = file_size
        pixels = image.pixels if isinstance(image, OpenedImage) else image
        shown.cut_from(pixels.resize(file_size) if protocol.crops == "file" else None)
    return shown
