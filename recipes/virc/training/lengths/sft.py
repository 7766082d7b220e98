"""How many tokens LLaMA-Factory makes of rows, images included, counted without it.

Written from what 0.9.5 does with the templates qwen2_vl and qwen3_vl_nothink: a message with its marks is one text for
the tokenizer, and an image is resized by LLaMA-Factory before the base's own image processor resizes it again.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from virc.backends.checkpoint import image_grid, image_settings, read_json
from virc.backends.tokenizer import tokenizer
from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.data.check.result import USUAL_SYSTEM
from virc.data.rows.record import MARK
from virc.engines.llamafactory.plan import template
from virc.reasoning.calls import Size
from virc.reasoning.images import StoredImage, stored
from virc.reasoning.resize import Grid
from virc.training.lengths.counted import BaseCounting, Length, Text, key_of

_SYSTEMS = {"qwen2_vl": USUAL_SYSTEM}
"""Template -> what it writes where a row has no system message."""
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_UNSAID = {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}
"""Limits in px of an image processor whose file names none."""
_SHORTEST, _LONGEST, _CUT = 28, 200, 180  # LLaMA-Factory's: px; times the other side; times it is made then
_MAX_KNOWN = 2**16
_known: dict[str | bytes, StoredImage] = {}


class Counting(BaseCounting, frozen=True):
    """What lengths depend on.

    Args:
        min_pixels, max_pixels: LLaMA-Factory's limits of an image, in px.
        cutoff: longest row in tokens.
    """

    min_pixels: int
    max_pixels: int
    cutoff: int


def counting(base: Path, min_pixels: int, max_pixels: int, cutoff: int) -> Counting:
    """Read what lengths depend on from the folder of a base.

    Raises:
        ConfigError: a file of it is missing or makes no sense, or LLaMA-Factory has no template for it.
    """
    model_type = str(read_json(base / "config.json").get("model_type"))
    template(model_type)
    tokenizer(base)
    return Counting(base, model_type, own_grid(base), min_pixels, max_pixels, cutoff)


def own_grid(base: Path) -> Grid:
    """The grid on which LLaMA-Factory has a base see images. Raises ConfigError: its settings make no sense."""
    return image_grid({"size": _UNSAID, **image_settings(base)})


def usual_system(model_type: str) -> str:
    """The system message that LLaMA-Factory's template writes where a row has none; empty: it writes none."""
    return _SYSTEMS.get(template(model_type), "")


def lengths(counting: Counting, rows: Sequence[Text]) -> list[Length]:
    """The length of each row."""
    spoken = tokenizer(counting.base)
    # What the tokenizer gets of user and assistant turns, with one token in the place of each image's.
    parts = [
        [
            f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" if role == "user" else f"{text}<|im_end|>\n"
            for role, text in ((each.role, each.content.replace(MARK, _IMAGE)) for each in row.messages)
            if role != "system"
        ]
        for row in rows
    ]
    spoken.encode_special_tokens = False
    encoded = spoken.encode_batch_fast([part for each in parts for part in each], add_special_tokens=False)
    counts = iter(map(len, encoded))
    return [_length(counting, row, sum(next(counts) for _ in each)) for row, each in zip(rows, parts, strict=True)]


def image_tokens(size: Size, counting: Counting) -> int:
    """Tokens of an image of `size` (width, height) in px, without the two marks around them.

    Raises:
        ValueError: it is so narrow that nothing is left of it.
    """
    wide, high = _prepared(size, counting)
    factor, least, most = counting.grid.factor, counting.grid.min_pixels, counting.grid.max_pixels
    columns, rows = round(wide / factor), round(high / factor)
    area = columns * rows * factor * factor
    if area > most:
        ratio = math.sqrt(wide * high / most)
        columns, rows = (max(1, math.floor(side / ratio / factor)) for side in (wide, high))
    elif area < least:
        ratio = math.sqrt(least / (wide * high))
        columns, rows = (math.ceil(side * ratio / factor) for side in (wide, high))
    return columns * rows


def _prepared(size: Size, counting: Counting) -> Size:
    """(width, height) in px after LLaMA-Factory's resizing, before the image processor's."""
    width, height = size
    if width * height > counting.max_pixels:
        ratio = math.sqrt(counting.max_pixels / (width * height))
        width, height = int(width * ratio), int(height * ratio)
    if min(width, height) < 1:
        raise ValueError(f"{size[0]} x {size[1]} px come to nothing under max_pixels {counting.max_pixels}")
    if width * height < counting.min_pixels:
        ratio = math.sqrt(counting.min_pixels / (width * height))
        width, height = int(width * ratio), int(height * ratio)
    width, height = max(width, _SHORTEST), max(height, _SHORTEST)
    if width / height > _LONGEST:
        width = height * _CUT
    if height / width > _LONGEST:
        height = width * _CUT
    return width, height


def _length(counting: Counting, row: Text, text: int) -> Length:
    """The length of a row whose messages come to `text` tokens, one for each image."""
    system = row.messages[0].content if row.messages[0].role == "system" else ""
    system = system or _SYSTEMS.get(template(counting.model_type), "")
    text += _system_tokens(counting.base, system) - len(row.files)
    try:
        found = [_stored(key_of(file), file) for file in row.files]
        sizes = [each.size for each in found]
        tokens = text + sum(image_tokens(size, counting) for size in sizes)
    except (ValueError, DataError) as error:
        return Length(fault=error.message if isinstance(error, DataError) else clause(error))
    most = min(counting.max_pixels, counting.grid.max_pixels)
    shrunk = sum(width * height > most for width, height in sizes)
    whys = ((key_of(file), _differs(each, counting)) for file, each in zip(row.files, found, strict=True))
    differ = {key: why for key, why in whys if why}
    fits = _fitting(counting, text, sizes) if tokens > counting.cutoff else 0
    return Length(tokens, len(sizes), shrunk, differ, fits)


def _fitting(counting: Counting, text: int, sizes: Sequence[Size]) -> int:
    """The largest `max_pixels`, in whole tokens, with which a row is no longer than the cutoff; 0: none is."""
    area = counting.grid.factor**2
    low = math.ceil(max(counting.min_pixels, counting.grid.min_pixels) / area)
    high = min(counting.max_pixels, counting.grid.max_pixels) // area

    def fits(cells: int) -> bool:
        limited = msgspec.structs.replace(counting, max_pixels=cells * area)
        return text + sum(image_tokens(size, limited) for size in sizes) <= counting.cutoff

    if low > high or not fits(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low * area


@lru_cache(64)
def _system_tokens(base: Path, system: str) -> int:
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    return len(tokenizer(base).encode(text, add_special_tokens=False)) if system else 0


def _differs(image: StoredImage, counting: Counting) -> str:
    """Why LLaMA-Factory does not show an image as it is shown elsewhere; "": it does.

    It brings an image to other sizes as it is stored, and of one of few colours leaves pixels out.
    """
    resized = not counting.min_pixels <= math.prod(image.size) <= counting.max_pixels
    return image.differs or "palette" * (resized and image.mode in ("1", "P"))


def _stored(key: str | bytes, file: str | bytes) -> StoredImage:
    """A file of that key as it is stored; the last some thousand of this process are remembered."""
    if key not in _known:
        name = f"the image {'in the row' if isinstance(file, bytes) else plain(file, 200)}"
        found = stored(file if isinstance(file, bytes) else Path(file), name)
        if len(_known) >= _MAX_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = found
    return _known[key]
