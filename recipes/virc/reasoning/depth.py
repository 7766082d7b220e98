"""Numbers of over 8 bits, shown in 8: which of them is black, and which is white."""

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
_WHITES = (1, *((1 << bits) - 1 for bits in (8, 10, 12, 14, 16)))  # the first of floats alone
_FEWEST_SHADES = 16
_FINITE = (-3.4e38, 3.4e38)  # of 32 bits
_OUTLIERS = 1000  # one of so many numbers at each end
_RAW = re.compile(r"(RGBX?|RGBA|LA|CMYK);16([BLN])")
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A picture a few rows at a time: whole layers of 100 million pixels would fill a GiB."""
    for top in range(0, image.height, STRIP):
        yield top, image.crop((0, top, image.width, min(top + STRIP, image.height)))


def is_deep(image: Image.Image) -> bool:
    """Whether it is a colour picture of 16 bits, of which Pillow, which has yet to decode it, keeps 8."""
    return _raw(image) is not None


def _raw(image: Image.Image) -> re.Match[str] | None:
    tiles = getattr(image, "tile", None) or ()
    found = {tile.args if isinstance(tile.args, str) else next(iter(tile.args or ()), None) for tile in tiles}
    raw = found.pop() if len(found) == 1 else None
    return _RAW.fullmatch(raw) if isinstance(raw, str) and "transparency" not in image.info else None


def load(image: Image.Image, again: Callable[[], ImageFile]) -> Levels | None:
    """Decode a picture; a deep one at the range of its numbers, for whose lower bytes `again` opens it once more."""
    raw = _raw(image)
    if raw is None:
        image.load()
        return None
    low = again()
    name = "RGBA" if raw[1] == "LA" else f"{raw[1]};16{_SWAPPED[raw[2]]}"
    low.tile = [
        tile._replace(args=name if isinstance(tile.args, str) else (name, *tuple(tile.args or ())[1:]))
        for tile in low.tile
    ]
    low.load()
    image.load()
    bands = [Image.new("I;16", image.size) for _ in range(2 if raw[1] == "LA" else len(image.getbands()))]
    for (top, upper), (_, lower) in zip(strips(image), strips(low), strict=True):
        highs, lows = upper.split(), lower.split()
        if raw[1] == "LA":
            highs, lows = lows[::2], lows[1::2]
        for band, *pair in zip(bands, lows, highs, strict=True):
            band.paste(Image.frombytes("I;16", upper.size, Image.merge("LA", pair).tobytes()), (0, top))
    del low
    alpha = bands.pop() if image.mode == "RGBA" else None
    shown, levels, _ = colours(bands, alpha)
    image.paste(shown.convert(image.mode))
    return levels


def colours(bands: Sequence[Image.Image], alpha: Image.Image | None = None) -> tuple[Image.Image, Levels, int]:
    """One picture in 8 bits of bands of over 8, all at one range; that, and how many pixels are no finite number.

    Such pixels are transparent. Alpha has the range of the colours, or where it goes further as many bits as it needs:
    cameras write 12 bits, and 16 of alpha.
    """
    levels, missing = _levels(bands), _missing([*bands, alpha] if alpha else bands)
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
    if bands[0].mode != "F":
        return None
    mask = Image.new("L", bands[0].size)
    for band in bands:
        for top, strip in strips(band):
            mask.paste(255, (0, top), _outside(strip, _FINITE))
    return mask if mask.getbbox() else None


def brightened(image: Image.Image) -> Levels | None:
    """Stretch 8 bits that would all be black, such as a mask of 0 and 1, in place; the range, where that was done."""
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
    low, high = levels
    scale = 255 / ((high - low) or 1)
    return _wide(band).point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _white(high: float, is_float: bool) -> int | float:
    """The greatest number of as many bits as cameras have; 0: it is larger."""
    most = next((each for each in _WHITES[not is_float :] if high <= each), 0)
    return float(most) if is_float else most


def _levels(bands: Sequence[Image.Image]) -> Levels:
    """The numbers that become black and white.

    Numbers go from 0 to the greatest of as many bits as cameras have; where they would be told apart by next to no
    shades then, or are negative or larger, from the least to the greatest that there is. Outliers are left out.
    """
    low, high = _extrema(bands)
    if low > high:
        raise ValueError("it has no finite number")
    low, high = _inner(bands, low, high)
    most = _white(high, bands[0].mode == "F") if low >= 0 else 0
    return (0, most) if most and not 0 < high - low < most / _FEWEST_SHADES else (low, high)


def _inner(bands: Sequence[Image.Image], low: int | float, high: int | float) -> Levels:
    """The least and the greatest number but for outliers: the outermost thousandth at each end, where all others lie
    within less than half of the range. Dead pixels are such; where there are none, nothing is cut off.
    """
    most = math.ceil(sum(math.prod(band.size) for band in bands) / _OUTLIERS)
    left, right = most, most  # that may be cut off at each end
    inner = low, high
    while inner[0] < inner[1]:
        counts = _histogram(bands, inner, inner != (low, high))
        first, last = _within(counts, left), len(counts) - 1 - _within(counts[::-1], right)
        if first > last or (last - first + 1) * 2 >= len(counts):
            break
        left, right = left - sum(counts[:first]), right - sum(counts[last + 1 :])
        step = (inner[1] - inner[0]) / (len(counts) - 1)
        found = _extrema(bands, (inner[0] + first * step, inner[0] + (last + 1) * step))
        if found[0] >= found[1]:  # paper of one shade: what is drawn on it is no outlier
            break
        inner = found
    return inner


def _within(counts: Sequence[int], most: int) -> int:
    """How many bins at the beginning hold at most `most` numbers together."""
    return next((at for at, total in enumerate(accumulate(counts)) if total > most), len(counts))


def _histogram(bands: Sequence[Image.Image], levels: Levels, is_cut: bool) -> list[int]:
    """How many numbers there are in each of the bins between two, 256 by the way Pillow counts."""
    outside, total = levels[0] - (levels[1] - levels[0]), [0] * 256
    for band in bands:
        for _, strip in strips(band):
            wide = _wide(strip).convert("F")
            if is_cut or band.mode == "F":
                wide.paste(outside, mask=_outside(wide, levels))
            total = [*map(add, total, wide.histogram(extrema=levels))]
    return total


def _extrema(bands: Sequence[Image.Image], inside: Levels | None = None) -> Levels:
    lows, highs = zip(*(_extrema_of(strip, inside) for band in bands for _, strip in strips(band)), strict=True)
    return min(lows), max(highs)


def _extrema_of(strip: Image.Image, inside: Levels | None) -> Levels:
    wide = _wide(strip)
    if inside is None and wide.mode != "F":
        return cast(Levels, wide.getextrema())
    low, high = inside or _FINITE
    if wide.mode != "F":
        low, high = math.ceil(low), math.floor(high)
    outside, found = _outside(wide, (low, high)), []
    for end, other in ((0, high), (1, low)):
        changed = wide.copy()
        changed.paste(other, mask=outside)
        found.append(cast(Levels, changed.getextrema())[end])
    return found[0], found[1]


def _outside(wide: Image.Image, levels: Levels) -> Image.Image:
    low, high = levels
    inside = ImageMath.lambda_eval(lambda given: (given["a"] >= low) * (given["a"] <= high), a=wide)
    mask: Image.Image = inside.convert("L").point(lambda value: 255 * (value == 0))
    return mask
