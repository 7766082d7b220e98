"""What it takes to decode a picture, by its header alone."""

import math
import re
import threading
from collections.abc import Mapping
from itertools import islice

import msgspec

from virc.core.errors import DataError
from virc.reasoning.calls import Size
from virc.reasoning.images import parse_header, square_size
from virc.reasoning.pixels.depth import is_deep
from virc.reasoning.resize import MAX_SCAN

RGB = 4
"""Bytes that Pillow keeps a pixel of RGB in."""
_PALETTE_OR_GREY = ("1", "L", "P")  # one byte each; all else is kept in RGB's four, but for greyscale of 16 bits
_DEEP = "colours of 16 bits"
_WIDE: Mapping[str, int] = {"I": 13, "F": 14, _DEEP: 26}
"""Mode -> bytes of a pixel while it is made RGB; of `I;16` and its like 11."""
_DECODERS: Mapping[str, int] = {"WEBP": 17, "AVIF": 20, "HEIF": 20, "TIFF": 4}
"""Format -> bytes per pixel that its decoder takes in all; of TIFF, in addition to what Pillow takes (one strip)."""
_STRIP = 256 * 16  # bytes for a pixel of width: what is transparent is put on white strip by strip
_COEFFICIENTS = 8  # bytes of a pixel of a JPEG of several scans: four colours of 16 bits
_MAX_SCANS = 100  # of a JPEG, each of which is decoded for all pixels; encoders write about ten
_SCAN = b"\xff\xda"
_SCANS = re.compile(_SCAN)  # finds them in a third of the time that `bytes.count` takes
_headers = threading.Lock()  # what is not pixels is bounded for each file, and read for one at a time


class Price(msgspec.Struct, frozen=True):
    """Bytes of memory for a picture: at most while it is decoded, and as RGB.

    Args:
        size: (width, height) in pixels, as they lie in the file, but square.
        of_pixel: bytes for each pixel that is decoded.
    """

    size: Size
    most: int
    kept: int
    of_pixel: int
    is_jpeg: bool = False

    @property
    def text(self) -> str:
        return f"{self.size[0]:,} x {self.size[1]:,} px"

    def reduced(self, by: int) -> int:
        area = math.ceil(self.size[0] / by) * math.ceil(self.size[1] / by)
        return self.most - self.of_pixel * (math.prod(self.size) - area)


def price(data: bytes, name: str) -> Price | None:
    """The price of a file; None: its header cannot be read. Raises DataError: a JPEG with too many scans."""
    found = _webp(data) or _read(data)
    if found is None or math.prod(found[0]) > MAX_SCAN:
        return None
    size, kind, mode, is_transparent = found
    is_jpeg = kind in ("JPEG", "MPO")
    has_several = is_jpeg and len([*islice(_SCANS.finditer(data), 2)]) > 1
    scans = data.count(_SCAN) if has_several else 1
    if scans > _MAX_SCANS:
        raise DataError(f"{name} has {scans} scans: at most {_MAX_SCANS} are decoded", "save it as a plain JPEG")
    area = math.prod(size)
    of_pixel = _bytes_of_pixel(kind, mode)
    most = len(data) + area * of_pixel + _STRIP * size[0] * is_transparent
    if scans > 1:
        most += _COEFFICIENTS * area
    return Price(size, most, RGB * area, of_pixel, is_jpeg)


def _bytes_of_pixel(kind: str, mode: str) -> int:
    loaded = 1 if mode in _PALETTE_OR_GREY else RGB
    pillow = 11 if mode.startswith("I;16") else _WIDE.get(mode, loaded + RGB)
    return pillow + _DECODERS["TIFF"] if kind == "TIFF" else max(pillow, _DECODERS.get(kind, 0))


_Header = tuple[Size, str, str, bool]
"""Size, format, mode, and whether something may be transparent."""


def _read(data: bytes) -> _Header | None:
    with _headers:
        try:
            with parse_header(data, "it") as image:
                mode = _DEEP if is_deep(image) else image.mode
                return square_size(image, data), image.format or "", mode, image.has_transparency_data
        except Exception:  # `open_file` says what is wrong, before it decodes anything
            return None


def _webp(data: bytes) -> _Header | None:
    """That of a WebP, whose decoder makes room for all pixels where it is only opened (RFC 9649)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    match data[12:16]:
        case b"VP8X":
            size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            sides = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
            size = sides[0] & 0x3FFF, sides[1] & 0x3FFF
    return size, "WEBP", "RGBA", True
