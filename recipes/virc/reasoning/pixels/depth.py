"""Pictures with numbers of over 8 bits (medicine, maps, cameras), shown in 8: which number is black, and which white.

`load` decodes a colour picture of 16 bits, of which Pillow alone would keep 8. `colours` maps the numbers of all
colours to 8 bits; `_levels` chooses the range. `brightened` does the same for 8 bits that would all be nearly black.
"""

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import add
from typing import Any, cast

from PIL import Image, ImageMath
from PIL.ImageFile import ImageFile

Levels = tuple[int | float, int | float]
"""The number that is shown as black, and the one that is shown as white."""

STRIP = 256  # rows
_WHITES = (1, *((1 << bits) - 1 for bits in (8, 10, 12, 14, 16)))  # usual largest numbers; 1 only of floats
_FEWEST_SHADES = 16
_FINITE = (-3.4e38, 3.4e38)  # of 32 bits
_OUTLIERS = 1000  # at each end, at most one in so many numbers is an outlier
_RAW = re.compile(r"(RGBX?|RGBA|LA|CMYK);16([BLN])")  # Pillow's names of its decoders: colours, bits, byte order
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte order in such a name -> the other one, by which Pillow keeps the lower byte of each number."""


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A picture a few rows at a time, each with its first row: copies of 100 million pixels would fill a GiB."""
    for top in range(0, image.height, STRIP):
        yield top, image.crop((0, top, image.width, min(top + STRIP, image.height)))


def is_deep(image: Image.Image) -> bool:
    """Whether a picture that is not decoded yet has colours of 16 bits, of which Pillow would keep 8."""
    return _deep_format(image) is not None


def _deep_format(image: Image.Image) -> re.Match[str] | None:
    """Of a picture with colours of 16 bits that is not decoded yet: its colours (1) and its byte order (2)."""
    tiles = getattr(image, "tile", None) or ()
    decoders = {tile.args if isinstance(tile.args, str) else next(iter(tile.args or ()), None) for tile in tiles}
    decoder = decoders.pop() if len(decoders) == 1 else None
    return _RAW.fullmatch(decoder) if isinstance(decoder, str) and "transparency" not in image.info else None


def load(image: Image.Image, reopen: Callable[[], ImageFile]) -> Levels | None:
    """Decode a picture in place; return the range of the numbers that are shown if it has colours of 16 bits.

    Pillow keeps the upper byte of each such number. So the file is decoded once more, by `reopen`, with the other byte
    order, which gives the lower bytes, and both are joined to numbers of 16 bits.
    """
    deep = _deep_format(image)
    if deep is None:
        image.load()
        return None
    is_grey = deep[1] == "LA"  # for which Pillow has one byte order: read as RGBA, grey and alpha keep both bytes
    decoder = "RGBA" if is_grey else f"{deep[1]};16{_SWAPPED[deep[2]]}"
    low_image = reopen()
    low_image.tile = [
        tile._replace(args=decoder if isinstance(tile.args, str) else (decoder, *tuple(tile.args or ())[1:]))
        for tile in low_image.tile
    ]
    low_image.load()
    image.load()
    bands = [Image.new("I;16", image.size) for _ in range(2 if is_grey else len(image.getbands()))]
    for (top, upper), (_, lower) in zip(strips(image), strips(low_image), strict=True):
        high_bytes, low_bytes = upper.split(), lower.split()
        if is_grey:
            high_bytes, low_bytes = low_bytes[::2], low_bytes[1::2]
        for band, low, high in zip(bands, low_bytes, high_bytes, strict=True):
            joined = Image.merge("LA", (low, high)).tobytes()  # little-endian: the lower byte comes first
            band.paste(Image.frombytes("I;16", upper.size, joined), (0, top))
    del low_image
    alpha = bands.pop() if image.mode == "RGBA" else None
    shown, levels, _ = colours(bands, alpha)
    image.paste(shown.convert(image.mode))
    return levels


def grey(band: Image.Image, greatest: int | None) -> tuple[Image.Image, Levels, int]:
    """`colours` of one band whose file can hold numbers up to `greatest`; None: up to the greatest of Pillow's mode."""
    if greatest is None:
        return colours([band])
    if band.mode == "L":  # with a sign, which Pillow does not read
        band = _wrapped(band, "I", 128, 255, -256)
    elif greatest >= 2**31:  # without the sign that Pillow reads
        is_folded = _extrema([band])[0] < 0
        return colours([_wrapped(band, "F", -(2**31), -1, 2**32) if is_folded else band])
    return colours([band], greatest=greatest)


def _wrapped(band: Image.Image, mode: str, low: int, high: int, offset: int) -> Image.Image:
    """A band in a wider mode, with `offset` added to the numbers from `low` to `high`."""
    wrapped = Image.new(mode, band.size)
    for top, strip in strips(band):
        wide = strip.convert(mode)
        wrapped.paste(wide.point(lambda value: value + offset), (0, top))
        wrapped.paste(wide, (0, top), _outside(wide, (low, high)))
    return wrapped


def colours(
    bands: Sequence[Image.Image], alpha: Image.Image | None = None, greatest: int = 0
) -> tuple[Image.Image, Levels, int]:
    """Bands of over 8 bits, one for each colour, as one picture of 8; with the range of all colours, and how many
    pixels are no finite number, which become transparent.

    Alpha has that range, too, or as many bits as it needs if it goes further: cameras write 12 bits, and 16 of alpha.
    """
    levels, missing = _levels(bands, greatest), _missing([*bands, alpha] if alpha else bands)
    flat = [_flat(band, levels) for band in bands]
    if alpha:
        most = _extrema([alpha])[1]
        flat.append(_flat(alpha, (0, max(levels[1], _white(most, alpha.mode == "F") or most))))
    elif missing:
        flat.append(Image.new("L", missing.size, 255))
    if missing:
        flat[-1].paste(0, mask=missing)
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA" if alpha or missing else "CMYK"}
    shown = Image.merge(modes[len(flat)], flat) if len(flat) > 1 else flat[0]
    return shown, levels, missing.histogram()[255] if missing else 0


def _missing(bands: Sequence[Image.Image]) -> Image.Image | None:
    """A mask of the pixels that are no finite number in any band; None: there are none."""
    if bands[0].mode != "F":
        return None
    mask = Image.new("L", bands[0].size)
    for band in bands:
        for top, strip in strips(band):
            mask.paste(255, (0, top), _outside(strip, _FINITE))
    return mask if mask.getbbox() else None


def brightened(image: Image.Image) -> Levels | None:
    """Stretch 8 bits that would all be nearly black, such as a mask of 0 and 1, in place; the range if that is done."""
    extrema = cast(Any, image.getextrema())
    bands = extrema if image.mode == "RGB" else [extrema]
    low, high = min(each[0] for each in bands), max(each[1] for each in bands)
    if high >= _FEWEST_SHADES or all(least == most for least, most in bands):
        return None
    table = [min(max(round((value - low) * 255 / (high - low)), 0), 255) for value in range(256)]
    for top, strip in strips(image):
        image.paste(strip.point(table * len(bands)), (0, top))
    return low, high


def _wide(band: Image.Image) -> Image.Image:
    return band if band.mode == "F" else band.convert("I")


def _flat(band: Image.Image, levels: Levels) -> Image.Image:
    """A band in 8 bits; numbers outside of the range are black or white."""
    low, high = levels
    scale = 255 / ((high - low) or 1)
    return _wide(band).point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _white(high: float, is_float: bool, greatest: int = 0) -> int | float:
    """The usual largest number (as 4095 of 12 bits), or `greatest`, that is no less than `high`; 0: there is none."""
    usual = _WHITES if is_float else sorted(filter(None, (*_WHITES[1:], greatest)))
    most = next((each for each in usual if high <= each), 0)
    return float(most) if is_float else most


def _levels(bands: Sequence[Image.Image], greatest: int = 0) -> Levels:
    """The numbers that become black and white.

    They are 0 and the usual largest number (`_white`). If the picture's numbers would get fewer than 16 shades then, or
    are negative or larger, they are its least and its greatest number. Outliers are left out.
    """
    low, high = _extrema(bands)
    if low > high:
        raise ValueError("it has no finite number")
    low, high = _without_outliers(bands, low, high)
    most = _white(high, bands[0].mode == "F", greatest) if low >= 0 else 0
    has_few_shades = 0 < high - low < most / _FEWEST_SHADES
    return (0, most) if most and not has_few_shades else (low, high)


def _without_outliers(bands: Sequence[Image.Image], low: int | float, high: int | float) -> Levels:
    """The least and the greatest number but for outliers, such as dead pixels of a camera.

    In each round, at most a thousandth of all numbers is cut off at each end, if the others take less than half of the
    range then. The rounds end when nothing can be cut off.
    """
    most = math.ceil(sum(math.prod(band.size) for band in bands) / _OUTLIERS)
    left, right = most, most  # how many numbers may still be cut off at each end
    inner = low, high
    while inner[0] < inner[1]:
        counts = _histogram(bands, inner, inner != (low, high))
        first, last = _bins_holding(counts, left), len(counts) - 1 - _bins_holding(counts[::-1], right)
        if first > last or (last - first + 1) * 2 >= len(counts):
            break
        left, right = left - sum(counts[:first]), right - sum(counts[last + 1 :])
        bin_width = (inner[1] - inner[0]) / (len(counts) - 1)
        narrowed = _extrema(bands, (inner[0] + first * bin_width, inner[0] + (last + 1) * bin_width))
        if narrowed[0] >= narrowed[1]:  # paper of one shade: what is drawn on it is no outlier
            break
        inner = narrowed
    return inner


def _bins_holding(counts: Sequence[int], most: int) -> int:
    """How many bins at the beginning hold at most `most` numbers together."""
    return next((bins for bins, total in enumerate(accumulate(counts)) if total > most), len(counts))


def _histogram(bands: Sequence[Image.Image], levels: Levels, is_cut: bool) -> list[int]:
    """How many numbers are in each of 256 bins between the two levels; `is_cut`: others exist, and are not counted."""
    outside, total = levels[0] - (levels[1] - levels[0]), [0] * 256
    for band in bands:
        for _, strip in strips(band):
            wide = _wide(strip).convert("F")
            if is_cut or band.mode == "F":
                wide.paste(outside, mask=_outside(wide, levels))
            total = [*map(add, total, wide.histogram(extrema=levels))]
    return total


def _extrema(bands: Sequence[Image.Image], inside: Levels | None = None) -> Levels:
    """The least and the greatest number of all bands, finite ones, or of those between the two of `inside`."""
    lows, highs = zip(*(_extrema_of(strip, inside) for band in bands for _, strip in strips(band)), strict=True)
    return min(lows), max(highs)


def _extrema_of(strip: Image.Image, inside: Levels | None) -> Levels:
    wide = _wide(strip)
    if inside is None and wide.mode != "F":
        return cast(Levels, wide.getextrema())
    low, high = inside or _FINITE
    if wide.mode != "F":
        low, high = math.ceil(low), math.floor(high)
    outside = _outside(wide, (low, high))
    with_low, with_high = wide.copy(), wide.copy()
    with_low.paste(low, mask=outside)
    with_high.paste(high, mask=outside)
    return cast(Levels, with_high.getextrema())[0], cast(Levels, with_low.getextrema())[1]


def _outside(wide: Image.Image, levels: Levels) -> Image.Image:
    """A mask of the numbers that are not between two."""
    low, high = levels
    inside = ImageMath.lambda_eval(lambda images: (images["band"] >= low) * (images["band"] <= high), band=wide)
    mask: Image.Image = inside.convert("L").point(lambda value: 255 if value == 0 else 0)
    return mask
