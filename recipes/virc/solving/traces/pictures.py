"""The pictures of a trace page: each as a figure, and enlarged over the page without a script.

A figure is a button that opens a popover, which the browser closes with Escape and returns from. The popover has the
figures around its own as radio buttons, between which the arrow keys go.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from virc.reasoning.calls import Box, Size
from virc.reasoning.trace import ImageRecord

_MAX_WIDTH, _MAX_HEIGHT = 560, 420  # px on the page of a large picture, before the page narrows it
_SMALL, _MAX_ENLARGED = 240, 4  # px on the page of a small picture's longer side, and how far that may enlarge it
_TOGETHER = 16  # figures of one popover: each of them has one, and all figures in all would be their square


class Pictured(Protocol):
    """An image as it is embedded: of a size in px, shown from an original of another, as a data URL."""

    @property
    def size(self) -> Size:
        """(width, height) that boxes are counted in."""

    @property
    def original(self) -> Size | None:
        """(width, height) of the file of an input before it was resized."""

    @property
    def data_url(self) -> str:
        """Its file."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A picture on a page, which a button enlarges."""

    number: int
    image: int
    size: Size
    caption: str
    box: Box | None = None
    is_cut: bool = False

    @property
    def label(self) -> str:
        """What a screen reader reads."""
        return self.caption + (f", box {corners(self.box)} marked" if self.box else "")

    @property
    def view_box(self) -> str:
        """Of the SVG, in px of the image."""
        return f"0 0 {self.size[0]} {self.size[1]}"

    @property
    def shown(self) -> tuple[str, str]:
        """Width and height on the page in px."""
        width, height = self.size
        enlarged = min(max(1, _SMALL / max(width, height)), _MAX_ENLARGED)
        scale = min(enlarged, _MAX_WIDTH / width, _MAX_HEIGHT / height)
        return f"{width * scale:.0f}", f"{height * scale:.0f}"

    @property
    def outline(self) -> str:
        """The box as the path of an SVG; empty where there is none."""
        if self.box is None:
            return ""
        left, top, right, bottom = self.box
        return f"M{left} {top}H{right}V{bottom}H{left}Z"


class Gallery:
    """The figures of one page, in their order."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def add(
        self, record: ImageRecord, caption: str, box: Box | None = None, *, is_cut: bool = False, of_file: str = ""
    ) -> Figure:
        """Return the next figure: a picture, its caption, and the box that is drawn on it."""
        size = (record.width, record.height)
        caption = f"{caption}, {size[0]} × {size[1]} px{of_file}"
        number = len(self.figures)
        figure = Figure(number=number, image=record.index, size=size, caption=caption, box=box, is_cut=is_cut)
        self.figures.append(figure)
        return figure

    def together(self, figure: Figure) -> Sequence[Figure]:
        """Return the figures that one popover shows."""
        first = figure.number // _TOGETHER * _TOGETHER
        return self.figures[first : first + _TOGETHER]


def corners(box: Box) -> str:
    """A box in words."""
    left, top, right, bottom = box
    return f"{left},{top}–{right},{bottom}"
