"""An image at the size it is shown at, resampled once."""

import math
from typing import Any

import msgspec
from PIL import Image

STAND_IN = "1"
"""Mode of a `StandIn`."""
_SAMPLES = 32  # of which a pixel made is the mean where no smaller number is exact
_STRIP = 2**20  # samples that are held at once


class StandIn(Image.Image):
    """An image without colours, which stands for its size. It has no pixels until a tool reads them."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._mode, self._size, self._is_made = STAND_IN, size, False

    def load(self) -> Any:
        if not self._is_made:
            self.im, self._is_made = Image.new(STAND_IN, self.size).im, True
        return super().load()

    def copy(self) -> "StandIn":
        return StandIn(self.size)


class Rescaled(msgspec.Struct, frozen=True):
    """What a tool that cuts or changes sizes returns: pixels as they were, and which of them are wanted at which size.

    The model's grid changes that size once more. To resample twice would blur, so `resampled` goes straight to the
    last size; and what is cut out again is cut from these pixels, not from those that were shown.

    Args:
        pixels: of the source.
        size: (width, height) in pixels that is wanted.
        box: the part of the pixels that is wanted (left, top, right, bottom); None: all of them.
    """

    pixels: Image.Image
    size: tuple[int, int]
    box: tuple[int, int, int, int] | None = None

    @property
    def cut(self) -> Image.Image:
        whole = self.box is None or self.box == (0, 0, *self.pixels.size)
        return self.pixels if whole else self.pixels.crop(self.box)


def resampled(image: Image.Image | Rescaled, size: tuple[int, int]) -> Image.Image:
    """The image at that size in pixels: by area where a tool shrinks it, as the published script of ViRC does, else by
    Lanczos. One without colours stands for its size.
    """
    source = image.pixels if isinstance(image, Rescaled) else image
    if source.mode == STAND_IN:
        return source if source.size == size else StandIn(size)
    pixels = image.cut if isinstance(image, Rescaled) else image
    if pixels.size == size:
        return pixels
    if math.prod(image.size) < math.prod(pixels.size):
        # Pillow has no way to turn rows into columns and to average them at once.
        turned = _averaged(pixels, size[0]).transpose(Image.Transpose.TRANSPOSE)
        return _averaged(turned, size[1]).transpose(Image.Transpose.TRANSPOSE)
    return pixels.resize(size, Image.Resampling.LANCZOS)


def _averaged(image: Image.Image, width: int) -> Image.Image:
    """The image at another width, every pixel the average of what it covers.

    Pillow's box filter takes a pixel on a border whole or not at all, so that lines of one pixel become uneven. Each
    pixel made is therefore the mean of samples at equal distances: of as many as make it exact, if those are at most 32
    (or at most one for each pixel covered), else of 32.
    """
    most = max(_SAMPLES, math.ceil(image.width / width))
    samples = min(image.width // math.gcd(image.width, width), most)
    made = Image.new(image.mode, (width, image.height))
    rows = max(1, _STRIP // (width * samples))
    for top in range(0, image.height, rows):  # all samples of a large image at once would fill a GiB
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        fine = strip.resize((width * samples, strip.height), Image.Resampling.NEAREST)
        made.paste(fine.reduce((samples, 1)), (0, top))
    return made
