"""The lengths of all rows of a file, in a few bytes per row, and the error for those that are too long."""

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from virc.core.errors import DataError
from virc.core.parallel import in_order
from virc.data.check.images import file_of
from virc.data.formats.registry import Row
from virc.data.rows.pictures import key
from virc.data.rows.record import Message, Picture
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resize import Grid

_BATCH = 64  # rows that a process gets together
_FEW = 2000  # rows that one process has counted before another has started
_MAX_NAMED = 5


class BaseCounting(msgspec.Struct, frozen=True):
    """What lengths depend on, for every kind of stage.

    Args:
        base: folder of the weights, with the tokenizer.
        model_type: of the base.
        grid: on which the base is shown images.
    """

    base: Path
    model_type: str
    grid: Grid


class Text(msgspec.Struct, frozen=True):
    """A row to be counted: its messages, and the names of its images, or their files, in the order of their marks."""

    messages: tuple[Message, ...]
    files: tuple[str | bytes, ...]


class Length(msgspec.Struct, frozen=True):
    """What one row comes to.

    Args:
        tokens: all of them.
        images: that it shows.
        shrunk: of them those over `max_pixels` or the base's own limit.
        differ: keys of the files of them that LLaMA-Factory would show otherwise than `open_file` does, with why.
        fits: of a row over the cutoff, the `max_pixels` that makes it fit; 0 where none does.
        fault: why it cannot be counted.
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
        cutoff: longest row in tokens.
        tokens: of each row, in their order.
        numbers: of the rows in their file.
        images: that each row shows.
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
        """Indices of the longest rows that are within the cutoff, the longest first."""
        return heapq.nlargest(most, self.within, key=lambda at: (self.tokens[at], -at))


def opened(picture: Picture) -> str | bytes:
    """The file that LLaMA-Factory opens for an image, or the bytes in its row."""
    return file_of(picture) if picture.data is None else picture.data


def key_of(file: str | bytes) -> str | bytes:
    """What stands for a file: its path, or a hash of bytes, which are too many to be kept for all rows."""
    return file if isinstance(file, str) else key(Picture("", data=file))


def count(
    measure: Measure, cutoff: int, read: Iterable[Row], rows: int, workers: int, on_row: Callable[[int], None]
) -> Counted:
    """Count all rows, which are known to be whole.

    Args:
        measure: what counts some of them; it goes to other processes.
        cutoff: longest row in tokens.
        read: the rows; `rows` is how many there are.
        workers: most processes to do it with.
        on_row: called now and then with how many are counted.

    Raises:
        DataError: an image cannot be opened.
    """
    counted = Counted(cutoff)
    workers = max(1, min(workers, rows // _FEW))

    def chunks() -> Iterator[list[Text]]:
        rows = iter(read)
        while chunk := list(islice(rows, _BATCH)):
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
        on_row(len(counted.tokens))
    return counted


def percentiles(tokens: "array[int]") -> tuple[int, int, int]:
    """The lengths that 50, 90 and 99 % of rows do not exceed."""
    ordered = sorted(tokens)
    half, most, nearly_all = (ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 90, 99))
    return half, most, nearly_all


def too_long(counted: Counted, coordinates: Coordinates, setting: str = "cutoff_len") -> DataError:
    """The error where rows are longer than the cutoff, which the stage calls `setting`, with what would help."""
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
