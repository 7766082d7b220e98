"""Limits of clips and documents; what is known of a file is checked before anything in it is decoded."""

import math
from pathlib import Path

from PIL import Image

from virc.core.errors import DataError, errors_as
from virc.reasoning.resample import resampled

MAX_BYTES = 2 * 2**30
MAX_SECONDS = 12 * 3600
MAX_PIXELS = 2**26
"""Of a frame or page, and of all pictures of one clip or document together."""
MAX_PICTURES = 128
"""Of one clip or document."""
MAX_PAGES = 5000
MEMORY = 3 * 2**29
"""Bytes of address space for reading."""
CPU_SECONDS = 316
"""CPU time for reading, which is 2 s for each of the most pictures, and a minute."""


def fitting(image: Image.Image, most: int) -> Image.Image:
    """The picture, shrunk to at most so many pixels."""
    if image.width * image.height <= most:
        return image
    scale = math.sqrt(most / (image.width * image.height))
    return resampled(image, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))


def check_file(source: bytes | Path, name: str) -> None:
    """Refuse a file that is too large. Raises DataError also where it cannot be read."""
    with errors_as(DataError, f"{name} cannot be read"):
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{name} has {size / 2**30:.1f} GiB, over {MAX_BYTES >> 30}", "cut it first")
