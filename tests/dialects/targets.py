"""A picture with one coloured place on a grey, noisy ground, and a look at it that knows nothing of how it was made.

The target is a saturated rectangle with another in its middle. From the inner one's place in a crop follows where the
whole target lies, so that a crop can be judged by itself.
"""

import io
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw

OUTER, INNER = (230, 20, 160), (20, 190, 60)
SHARE = 0.6
"""Sides of the inner rectangle, as a part of those of the target."""

_CONTRAST = 80
_LEAST_IOU = _LEAST_SHARE = 0.8

Size = tuple[int, int]


class Box(NamedTuple):
    """Left, top, right, bottom; right and bottom lie outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def scaled(self, across: float, down: float) -> "Box":
        return Box(self.left * across, self.top * down, self.right * across, self.bottom * down)


PLACE = Box(0.62, 0.55, 0.77, 0.70)


def write_picture(path: Path, size: Size = (1400, 1008), target: Box = PLACE) -> Path:
    """Write a picture whose target lies there, in parts of its sides."""
    width, height = size
    grey = Image.effect_noise((width // 28, height // 28), 40).resize(size, Image.Resampling.NEAREST)
    image = Image.merge("RGB", (grey, grey, grey))
    draw = ImageDraw.Draw(image)
    box = target.scaled(width, height)
    across, down = (1 - SHARE) / 2 * (box.right - box.left), (1 - SHARE) / 2 * (box.bottom - box.top)
    inner = Box(box.left + across, box.top + down, box.right - across, box.bottom - down)
    for part, colour in ((box, OUTER), (inner, INNER)):
        left, top, right, bottom = map(round, part)
        draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    image.save(path)
    return path


@lru_cache(maxsize=4)
def opened(data: bytes) -> Image.Image:
    """The picture in a request's bytes."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def size_of(data: bytes) -> Size:
    """Width and height of the picture in a request's bytes."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def find(image: Image.Image) -> Box | None:
    """Where the target lies in a picture, in its pixels."""
    red, green, _ = image.split()
    found = ImageChops.difference(red, green).point(_is_far).getbbox()
    return Box(*found) if found else None


def shows_the_target_alone(image: Image.Image) -> bool:
    """Whether a crop holds the whole target and hardly anything else: by its colours, and by an IoU of 0.8."""
    red, green, _ = image.split()
    width, height = image.size
    coloured = ImageChops.difference(red, green).point(_is_far).histogram()[255] / (width * height)
    return coloured >= _LEAST_SHARE and overlap(image) >= _LEAST_IOU


def overlap(image: Image.Image) -> float:
    """IoU of a crop with the target that is seen in it."""
    red, green, _ = image.split()
    width, height = image.size
    inner = ImageChops.subtract(green, red).point(_is_far).getbbox()
    if inner is None or inner[0] == 0 or inner[1] == 0 or inner[2] == width or inner[3] == height:
        return 0.0
    across, down = (inner[2] - inner[0]) / SHARE, (inner[3] - inner[1]) / SHARE
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    target = Box(x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    both = Box(max(0.0, target.left), max(0.0, target.top), min(width, target.right), min(height, target.bottom))
    return both.area / (target.area + width * height - both.area)


def _is_far(difference: float) -> int:
    return 255 if difference > _CONTRAST else 0
