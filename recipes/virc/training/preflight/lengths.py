"""How many tokens the rows of a file have, images included, and which of them are too long.

Those of LLaMA-Factory are counted without it, from what 0.9.5 does with the templates qwen2_vl and qwen3_vl_nothink: a
message with its marks is one text for the tokenizer, and an image is resized by LLaMA-Factory before the base's own
image processor resizes it again. Prompts of RL are counted in `preflight.rl`.
"""

import heapq
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec

from virc.backends.checkpoint import image_grid, image_settings, read_json
from virc.backends.tokenizer import tokenizer
from virc.core.errors import DataError
from virc.core.parallel import in_order
from virc.core.text import clause, plain
from virc.data.check.images import file_of
from virc.data.check.result import USUAL_SYSTEM
from virc.data.formats.registry import Row
from virc.data.rows.pictures import key
from virc.data.rows.record import MARK, Message, Picture
from virc.engines.llamafactory.plan import template
from virc.reasoning.calls import Size
from virc.reasoning.images import StoredImage, stored
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resize import Grid, within_area

_BATCH = 64  # rows that a process gets together
_FEW = 2000  # rows that one process has counted before another has started
_MAX_NAMED = 5
_SYSTEMS = {"qwen2_vl": USUAL_SYSTEM}
"""Template -> what it writes if a row has no system message."""
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_UNSAID = {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}
"""Limits in px of an image processor whose file names none."""
_SHORTEST, _LONGEST, _CUT = 28, 200, 180  # LLaMA-Factory's: px; times the other side; times it is made then
_MAX_KNOWN = 2**16
_known: dict[str | bytes, StoredImage] = {}


class BaseCounting(msgspec.Struct, frozen=True):
    base: Path
    model_type: str
    grid: Grid


class Text(msgspec.Struct, frozen=True):
    messages: tuple[Message, ...]
    files: tuple[str | bytes, ...]


class Length(msgspec.Struct, frozen=True):
    """What one row comes to.

    Args:
        shrunk: of them those over `max_pixels` or the base's own limit.
        differ: keys of the files of them that LLaMA-Factory would show otherwise than `open_file` does, with why.
        fits: of a row over the cutoff, the `max_pixels` that makes it fit; 0 if none does.
    """

    tokens: int = 0
    images: int = 0
    shrunk: int = 0
    differ: dict[str | bytes, str] = {}
    fits: int = 0
    fault: str = ""


Measure = Callable[[Sequence[Text]], list[Length]]


class Counted(msgspec.Struct):
    """The lengths of all rows.

    Args:
        shrunk: of those, the ones over the limit of an image.
        differ: as of `Length`, of each row that has such files, by its index.
        fits: the largest `max_pixels` with which the longer rows would fit; 0: there is none.
    """

    cutoff: int
    tokens: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    numbers: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    images: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    shrunk: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    differ: dict[int, dict[str | bytes, str]] = msgspec.field(default_factory=dict)
    fits: int | None = None

    @property
    def over(self) -> "array[int]":
        """Indices of the rows longer than the cutoff."""
        return array("q", (at for at, tokens in enumerate(self.tokens) if tokens > self.cutoff))

    @property
    def within(self) -> "array[int]":
        """Indices of the other rows."""
        return array("q", (at for at, tokens in enumerate(self.tokens) if tokens <= self.cutoff))

    def files(self, chosen: Iterable[int]) -> set[str | bytes]:
        """The keys of the files of the rows at those indices that LLaMA-Factory would show otherwise."""
        return {key for at in chosen for key in self.differ.get(at, ())}

    def longest(self, most: int) -> list[int]:
        return heapq.nlargest(most, self.within, key=lambda at: (self.tokens[at], -at))


def opened(picture: Picture) -> str | bytes:
    """The file that LLaMA-Factory opens for an image, or the bytes in its row."""
    return file_of(picture) if picture.data is None else picture.data


def key_of(file: str | bytes) -> str | bytes:
    """What stands for a file: its path, or a hash of bytes, which are too many to be kept for all rows."""
    return file if isinstance(file, str) else key(Picture("", data=file))


def count(
    measure: Measure, cutoff: int, read: Iterable[Row], rows: int, workers: int, on_progress: Callable[[str], None]
) -> Counted:
    """Count all rows, which are known to be whole; `measure` goes to other processes."""
    counted = Counted(cutoff)
    workers = max(1, min(workers, rows // _FEW))

    def chunks() -> Iterator[list[Text]]:
        left = iter(read)
        while chunk := list(islice(left, _BATCH)):
            counted.numbers.extend(row.number for row in chunk)
            records = [row.known() for row in chunk]
            yield [Text(record.messages, tuple(map(opened, record.images))) for record in records]

    for found in in_order(measure, chunks(), workers):
        for length in found:
            number = counted.numbers[len(counted.tokens)]
            if length.fault:
                raise DataError(f"row {number}: {length.fault}")
            if length.differ:
                counted.differ[len(counted.tokens)] = length.differ
            counted.tokens.append(length.tokens)
            counted.images.append(length.images)
            counted.shrunk.append(length.shrunk)
            if length.tokens > cutoff:
                counted.fits = length.fits if counted.fits is None else min(counted.fits, length.fits)
        on_progress(f"row {len(counted.tokens)} of {rows}")
    return counted


def percentiles(tokens: "array[int]") -> tuple[int, int, int]:
    ordered = sorted(tokens)
    half, most, nearly_all = (ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 90, 99))
    return half, most, nearly_all


def too_long(counted: Counted, coordinates: Coordinates, setting: str = "cutoff_len") -> DataError:
    """The error if rows are longer than the cutoff, which the stage calls `setting`, with what would help."""
    over = counted.over
    longest = max(over, key=lambda at: counted.tokens[at])
    first = ", ".join(str(counted.numbers[at]) for at in over[:_MAX_NAMED]) + ", …" * (len(over) > _MAX_NAMED)
    tokens = counted.tokens[longest]
    sentence = (
        f"{len(over):,} of {len(counted.tokens):,} rows are longer than the {setting} of {counted.cutoff:,} tokens, "
        f"and would be cut: rows {first}; the longest, row {counted.numbers[longest]}, has {tokens:,}"
    )
    ways = [f"--set {setting}={tokens} holds all"]
    if counted.fits:
        blurred = " (boxes in pixels then miss)" if coordinates == "pixel" else ""
        ways.append(f"--set max_pixels={counted.fits} shrinks images until all fit{blurred}")
    if counted.within:
        ways.append("--set filter_overlong=true leaves them out")
    return DataError(sentence, "; ".join(ways))


class Counting(BaseCounting, frozen=True):
    """`min_pixels` and `max_pixels` are LLaMA-Factory's limits of an image in px, `cutoff` that of a row in tokens."""

    min_pixels: int
    max_pixels: int
    cutoff: int


def counting(base: Path, min_pixels: int, max_pixels: int, cutoff: int) -> Counting:
    """Raises ConfigError: a file of it is missing or makes no sense, or LLaMA-Factory has no template for it."""
    model_type = str(read_json(base / "config.json").get("model_type"))
    template(model_type)
    tokenizer(base)
    return Counting(base, model_type, own_grid(base), min_pixels, max_pixels, cutoff)


def own_grid(base: Path) -> Grid:
    return image_grid({"size": _UNSAID, **image_settings(base)})


def usual_system(model_type: str) -> str:
    """The system message that LLaMA-Factory's template writes if a row has none; empty: it writes none."""
    return _SYSTEMS.get(template(model_type), "")


def lengths(counting: Counting, rows: Sequence[Text]) -> list[Length]:
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
    """Tokens of an image of `size` (width, height) in px, without the marks around them; ValueError if none is left."""
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
    wide = height * _CUT if width / height > _LONGEST else width
    high = wide * _CUT if height / wide > _LONGEST else height
    # and what the image processor makes of that
    factor = counting.grid.factor
    return math.prod(within_area(round(wide / factor), round(high / factor), (wide, high), counting.grid))


def _length(counting: Counting, row: Text, text: int) -> Length:
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
    if key not in _known:
        name = f"the image {'in the row' if isinstance(file, bytes) else plain(file, 200)}"
        found = stored(file if isinstance(file, bytes) else Path(file), name)
        if len(_known) >= _MAX_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = found
    return _known[key]
