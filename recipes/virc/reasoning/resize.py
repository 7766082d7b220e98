"""Smart-resize: the size at which a picture is shown, so that it falls on the model's patch grid."""

import math
from collections.abc import Sequence

import msgspec

from virc.core.errors import ConfigError

MAX_ASPECT = 200
MAX_PIXELS = 100_000_000
"""Of a picture that is opened or shown; decoding a larger one fills the memory."""
MAX_SCAN = 400_000_000
"""Of a user's picture that is opened where it fits into the memory for pictures, as JPEG does at a part of its size."""

Views = Sequence[Sequence[tuple[int, int]]]
"""Rows and columns of tokens of each view of a picture: the whole in a row, then rows of tiles, if any are apart."""


class Grid(msgspec.Struct, frozen=True):
    """What a model's image processor wants of sizes; the defaults are those of Qwen2-VL and Qwen2.5-VL.

    Args:
        factor: sides are multiples of this many pixels (patch x merge: 14 x 2, for Qwen3-VL 16 x 2).
        min_pixels: smallest area in pixels.
        max_pixels: largest area in pixels.
        longest: longest side in pixels; None: any. Some servers scale down what is longer, without a word.
    """

    factor: int = 28
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 16384 * 28 * 28
    longest: int | None = None

    def limited(self, max_pixels: int | None) -> "Grid":
        if max_pixels is None:
            return self
        if max_pixels < self.min_pixels:
            reason = f"is under the model's smallest image, {self.min_pixels} pixels"
            raise ConfigError(f"max_pixels {max_pixels} {reason}")
        return msgspec.structs.replace(self, max_pixels=min(self.max_pixels, max_pixels))

    def tokens(self, width: int, height: int) -> int:
        """Tokens of an image of that size in px."""
        return sum(rows * columns for row in self.views(width, height) for rows, columns in row)

    def views(self, width: int, height: int) -> Views:
        """Views of an image of that size in px, whose sides are multiples of the factor."""
        return [[(height // self.factor, width // self.factor)]]

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in px at which an image of that size is fed: as it is, unless off the grid (1000 x 1000)."""
        off = width % self.factor or height % self.factor
        return smart_resize(width, height, self) if off else (width, height)


class Tiles(Grid, frozen=True):
    """What an image processor wants that cuts an image into square tiles, with the whole image as one more.

    Args:
        side: of a tile, in px.
        fewest, most: tiles of an image, without the whole image.
        each: tokens of a tile.
        fills: the tiles are cells of an image that is scaled until `most` of them hold it, and not cut.
    """

    side: int = 448
    fewest: int = 1
    most: int = 12
    each: int = 256
    fills: bool = False

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """As it is: tiles are cut from any size."""
        return width, height

    def shape(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of tiles of an image of that size in px.

        They are as many as is nearest to the image's ratio of sides. Of equally near ones those with
        more tiles are taken if the image has more than half of their area (transformers, `got_ocr2`).
        """
        if self.fills:  # transformers, `gemma4`
            scale = math.sqrt(self.most * self.side**2 / (width * height))
            columns, rows = int(scale * width / self.side), int(scale * height / self.side)
            longest = min(max(width // height, height // width), self.most)
            return (columns, rows) if columns and rows else (longest, 1) if columns else (1, longest)
        across = range(1, self.most + 1)
        grids = [(x, y) for x in across for y in across if self.fewest <= x * y <= self.most]
        best, nearest = (1, 1), math.inf
        for columns, rows in sorted(grids, key=math.prod):
            apart = abs(width / height - columns / rows)
            is_large = width * height > self.side**2 * columns * rows / 2
            if apart < nearest or (apart == nearest and is_large):
                best, nearest = (columns, rows), apart
        return best

    def tiles(self, width: int, height: int) -> int:
        """Tiles of an image of that size in px, the whole image included."""
        count = math.prod(self.shape(width, height))
        return count if self.fills or count == 1 else count + 1

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in px of all tiles of an image of that size together."""
        columns, rows = self.shape(width, height)
        return columns * self.side, rows * self.side

    def views(self, width: int, height: int) -> Views:
        return [[(self.tiles(width, height), self.each)]]


QWEN2 = Grid()


def too_long(width: float, height: float) -> bool:
    """Whether one side is more than 200 times the other, which no processor takes."""
    return max(width, height) > MAX_ASPECT * min(width, height)


def smart_resize(width: float, height: float, grid: Grid = QWEN2) -> tuple[int, int]:
    """The size in pixels at which an image of `width` x `height` pixels is shown.

    Sides go to the nearest multiple of the grid's factor, ties to the even multiple (Python's `round`). An area outside
    the limits is brought inside by one square-root ratio, then floor (shrinking) or ceil (growing). A picture with a
    side under the factor is first enlarged as a whole until that side is one factor long.

    Returns:
        (width, height), multiples of `grid.factor`. No side goes under one factor, so a very long image can
        pass a `max_pixels` of less than 200 squared factors.

    Raises:
        ValueError: a side is not positive, or one side is over 200 times the other.
    """
    if min(width, height) < 1:
        raise ValueError(f"an image of {width} x {height} px has nothing to show")
    if too_long(width, height):
        raise ValueError(f"one side of {width} x {height} px is over {MAX_ASPECT} times the other")
    factor = grid.factor
    grow = max(1.0, factor / min(width, height))
    if grid.longest and grow == 1 and max(width, height) > grid.longest:
        grow = max(grid.longest / max(width, height), factor / min(width, height))
    wide, high = width * grow, height * grow
    columns, rows = round(wide / factor), round(high / factor)
    if grid.longest and grow <= 1:
        columns, rows = (max(1, min(side, grid.longest // factor)) for side in (columns, rows))
    columns, rows = within_area(columns, rows, (wide, high), grid)
    return columns * factor, rows * factor


def within_area(columns: int, rows: int, size: tuple[float, float], grid: Grid) -> tuple[int, int]:
    factor = grid.factor
    area = columns * rows * factor * factor
    if area > grid.max_pixels:
        ratio = math.sqrt(math.prod(size) / grid.max_pixels)
        columns, rows = (max(1, math.floor(side / ratio / factor)) for side in size)
    elif area < grid.min_pixels:
        ratio = math.sqrt(grid.min_pixels / math.prod(size))
        columns, rows = (math.ceil(side * ratio / factor) for side in size)
    return columns, rows
