"""Opens pictures within the memory that pictures may take: the ways in which all commands and servers open them.

Files of others (`outside`) are decoded in a process of its own, and refused where they need more than the limit.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.core.files import contents
from virc.core.limits.image_memory import IMAGE_MEMORY, OWN, WAIT, Terms, limit
from virc.reasoning.calls import Size
from virc.reasoning.history import input_grid, show_input
from virc.reasoning.images import MAX_BYTES, SQUARE, OpenedImage, Shown, open_file
from virc.reasoning.opening.decoder import DECODER, Fit, decoded
from virc.reasoning.opening.pricing import RGB, Price, price
from virc.reasoning.protocol import Protocol
from virc.reasoning.resample import STAND_IN
from virc.reasoning.resize import Grid, smart_resize

Source = tuple[bytes | Path, str]
"""A file's bytes, or where it lies; and what the user calls it, for messages."""


@contextmanager
def opened_all(
    sources: Sequence[Source], terms: Terms = OWN, derived: Callable[[Size], int] = lambda size: 0, whole: bool = False
) -> Iterator[list[OpenedImage]]:
    """The pictures of one problem, as `open_file` opens them; their memory is held inside. The list is empty then.

    Args:
        terms: as of `ImageMemory.hold`.
        derived: bytes that are needed inside for what is made of a picture of that (width, height) in px.
        whole: crops are cut from what is open inside, so the files are not kept to be decoded again.

    Raises:
        DataError: one is missing, empty, damaged, no picture, or too large, small or long to be shown.
        TooLargeError, BusyError: their pixels do not fit into the memory for pictures, or not now.
    """
    files = [(read(source, name), name) for source, name in sources]
    prices = [_priced(data, name, terms) for data, name in files]
    kept = sum(each.kept for each in prices)
    # what another process has decoded is in the memory of both for a moment
    extra = max((max(each.most - each.kept, each.kept * terms.outside) for each in prices), default=0)
    extra = max(extra, sum(derived(each.size) for each in prices))
    with IMAGE_MEMORY.hold(kept + extra, _what(files, prices), terms) as hold:
        pictures = [
            _decoded(data, name, each.most, None, terms)[0] for (data, name), each in zip(files, prices, strict=True)
        ]
        if whole:
            pictures = [msgspec.structs.replace(each, data=None) for each in pictures]
            del files  # what is done inside may take long
        hold.shrink(kept + sum(derived(each.size) for each in pictures))
        try:
            yield pictures
        finally:
            pictures.clear()


def open_image(source: bytes | Path, name: str) -> Image.Image:
    with opened_all([(source, name)]) as (picture,):
        return picture.pixels


def shown(source: bytes | Path, name: str, protocol: Protocol, grid: Grid, terms: Terms = OWN) -> Shown:
    """A picture as the model sees it; what crops are cut from in a file is decoded for each. Arguments and errors as of
    `opened_all`.

    A JPEG that does not fit is decoded at a part of its size, where nothing is cut from its file.

    Raises:
        ValueError: it cannot be shown.
    """
    data = read(source, name)
    price = _priced(data, name, terms)
    fit = _fit(price.size, protocol, grid)
    if fit is None:
        with opened_all([(data, name)], terms) as pictures:
            return as_shown(pictures[0], protocol, grid, terms.outside)
    most = max(price.most, _resampling(fit))
    if price.is_jpeg and protocol.crops == "shown" and terms.strict and most > limit():
        fit = msgspec.structs.replace(fit, by=_part(fit))
        most = max(price.reduced(fit.by), _resampling(fit))
    with IMAGE_MEMORY.hold(most, f"{name} has {price.text}", terms):
        picture, original = _decoded(data, name, most, fit, terms)
        found = show_input(picture, protocol, grid)
    found.original = original
    is_changed = found._full is not None or found.size != original
    return _Cut(found, data, terms.outside) if protocol.crops == "file" and is_changed else found


def check(source: Source, terms: Terms = OWN) -> None:
    """Refuse what the header of a file already says; errors as of `opened_all`, but for the memory."""
    _priced(read(*source), source[1], terms)


def as_shown(picture: Image.Image | OpenedImage, protocol: Protocol, grid: Grid, outside: bool = False) -> Shown:
    """An open picture as the model sees it; of its file the pixels are decoded for each crop. Errors as of `shown`."""
    found = show_input(picture, protocol, grid)
    return _Cut(found, found._full, outside) if isinstance(found._full, bytes) else found


def _fit(size: Size, protocol: Protocol, grid: Grid) -> Fit | None:
    """The sizes at which a picture is shown; None where it cannot be, or would be brought to another size once more."""
    try:
        own = input_grid(protocol, grid)
        wanted = [
            SQUARE if protocol.images == "square_1000" else smart_resize(*each, own) for each in (size, size[::-1])
        ]
        settled = SQUARE in wanted or all(smart_resize(*each, own) == each for each in wanted)
    except ValueError:
        return None
    return Fit(size, (wanted[0], wanted[1])) if settled else None


def _resampling(fit: Fit) -> int:
    """Bytes for a picture while it is brought to another size: as it is, at its new width, and at its new size.

    When it has that, it may be in the memory of two processes for a moment.
    """
    size = tuple(-(-side // fit.by) for side in fit.size)
    ways = zip((size, size[::-1]), fit.wanted, strict=True)
    return RGB * max(
        max(width * height + new_width * height + new_width * new_height, 2 * new_width * new_height)
        for (width, height), (new_width, new_height) in ways
    )


def _part(fit: Fit) -> int:
    """The part of a JPEG's size at which it is decoded: the smallest that is not under what is wanted."""
    sides = fit.wanted[0], fit.wanted[1][::-1]  # as it lies
    times = min(side // each[at] for at, side in enumerate(fit.size) for each in sides)
    return next(each for each in (8, 4, 2, 1) if each <= max(times, 1))


class _Cut(Shown):
    def __init__(self, shown: Shown, data: bytes, outside: bool) -> None:
        size = Image.new(STAND_IN, shown.size)
        super().__init__(size, twin=shown, original=shown.original, is_jpeg=shown.is_jpeg, full=data)
        self.rendering, self._outside = shown.rendering, outside

    @property
    def full(self) -> Image.Image:
        return _LAST.pixels(self._full, self._outside) if isinstance(self._full, bytes) else super().full


class _Last:
    """The pixels of the file that was decoded last, kept for the crops that follow as long as nobody needs the memory.

    They are counted until nobody has them.
    """

    def __init__(self) -> None:
        self._kept: tuple[bytes, Image.Image] | None = None
        self._lock = threading.Lock()

    def pixels(self, data: bytes, outside: bool) -> Image.Image:
        if found := self._of(data):
            return found
        with self._lock:  # several samples of one problem want the same
            if found := self._of(data):
                return found
            with opened_all([(data, "the picture")], Terms(outside, WAIT)) as pictures:
                pixels = pictures[0].pixels
                hold = IMAGE_MEMORY.keep(RGB * pixels.width * pixels.height)
            weakref.finalize(pixels, hold.shrink, 0).atexit = False
            self._kept = (data, pixels)
            return pixels

    def _of(self, data: bytes) -> Image.Image | None:
        """The pixels, if they are those of this file; whoever waits must have no others, which stay counted."""
        kept = self._kept
        return kept[1] if kept and kept[0] is data else None

    def drop(self) -> None:
        self._kept = None


_LAST = _Last()
IMAGE_MEMORY.reclaim = _LAST.drop


def read(source: bytes | Path, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return contents(source, MAX_BYTES)
    except OSError:
        return open_file(source, name).data or b""  # raises, and says why


def _decoded(data: bytes, name: str, most: int, fit: Fit | None, terms: Terms) -> tuple[OpenedImage, Size]:
    return DECODER.decoded(data, name, most, fit, terms.check) if terms.outside else decoded(data, name, fit)


def _priced(data: bytes, name: str, terms: Terms) -> Price:
    found = DECODER.price(data, name, terms.check) if terms.outside else price(data, name)
    if found is None:
        # raises, and says why: it reads no more than the header
        _decoded(data, name, 0, None, terms)
        raise DataError(f"{name} is damaged or cut short")
    return found


def _what(files: Sequence[tuple[bytes, str]], prices: Sequence[Price]) -> str:
    if len(files) == 1:
        return f"{files[0][1]} has {prices[0].text}"
    return f"the {len(files)} pictures have {sum(each.size[0] * each.size[1] for each in prices):,} px together"
