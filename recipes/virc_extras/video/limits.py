"""Limits of clips and documents; what is known of a file is checked before anything in it is decoded."""

import math
import os
import re
from pathlib import Path

from PIL import Image

from virc.core.errors import ConfigError, DataError, errors_as
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
SETTING = "VIRC_READING_SECONDS"
"""The variable with the CPU time for one page or frame, in seconds."""
CPU_SECONDS = 60.0
"""The same by default, and for opening a file. On one core at 2.6 GHz a scan of A4 at 300 dots an inch takes up to 1 s,
a map of A4 with a million lines 3 s, one of A0 with two million 20 s. A frame of 3840 x 2160 px takes 14 to 19 ms
(H.264, HEVC, AV1 of 10 bits), and all since its key frame are decoded: by that, of 10 s 6 s at 30 a second."""
ALL_PICTURES = 5
"""All of one file may take so many times as long: by that, 64 such frames of an hour take 200 s."""
MAX_READERS = 8
"""Files of one client that are read at a time, where there are so many cores: each may take `MEMORY`."""


def cpu_seconds() -> float:
    """CPU time for one page or frame. Raises ConfigError: the variable holds no such number."""
    text = os.environ.get(SETTING) or str(CPU_SECONDS)
    seconds = float(text) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) else 0
    if not 0.001 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"{SETTING} is {text!r}, not seconds from 0.001 to {MAX_SECONDS}", f"export {SETTING}=120")
    return seconds


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
