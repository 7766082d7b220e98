"""Opens pictures within the memory that pictures may take: the ways in which all commands and servers open them.

`opened_all` opens the pictures of one problem, `shown` one as the model sees it. Both compute from the header what
decoding takes (`_priced`), hold so much memory, and decode (`_decoded`). Files of others (`Terms.outside`) are decoded
in another process, and refused if they need more than the limit.
"""

import itertools
import math
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
from virc.reasoning.encoded import Encoded
from virc.reasoning.history import input_grid, show_input
from virc.reasoning.images import MAX_BYTES, SQUARE, OpenedImage, Shown, StoredImage, open_file, stored, undecoded_jpeg
from virc.reasoning.opening.decoder import DECODER, Fit, Part, decoded, reduced
from virc.reasoning.opening.pricing import RGB, Price, price
from virc.reasoning.protocol import Protocol
from virc.reasoning.resample import STAND_IN, Rescaled, StandIn
from virc.reasoning.resize import MAX_PIXELS, Grid, smart_resize

_KEYS = itertools.count(1)  # never those of the pictures of another client
Source = tuple[bytes | Path, str]
"""A file's bytes or its path; and what the user calls it, for messages."""


@contextmanager
def opened_all(
    sources: Sequence[Source], terms: Terms = OWN, derived: Callable[[Size], int] = lambda size: 0, whole: bool = False
) -> Iterator[list[OpenedImage]]:
    """The pictures of one problem, as `open_file` opens them; the block holds their memory, and empties the list.

    Args:
        terms: as of `ImageMemory.hold`.
        derived: bytes that the block needs for what it makes of a picture of that (width, height) in px.
        whole: crops are cut from the open pictures inside the block, so no file is kept to be decoded again.

    Raises:
        DataError: one is missing, empty, damaged, no picture, or too large, small or long to be shown.
        TooLargeError, BusyError: their pixels do not fit into the memory for pictures, or not now.
    """
    files = [(read(source, name), name) for source, name in sources]
    prices = [_priced(data, name, terms) for data, name in files]
    terms = _strict_of_scans(terms, *prices)
    divisors = [1 if whole else _divisor_of_scan(each) for each in prices]
    prices = [
        msgspec.structs.replace(price, most=price.reduced(by), kept=price.kept // by**2)
        for price, by in zip(prices, divisors, strict=True)
    ]
    decoded_bytes = sum(price.kept for price in prices)
    # Pictures are decoded one after the other, so only the largest excess counts, not the sum. What another process
    # has decoded is in the memory of both for a moment.
    while_decoding = (max(price.most - price.kept, price.kept if terms.outside else 0) for price in prices)
    derived_bytes = sum(derived(price.size) for price in prices)
    extra_bytes = max(derived_bytes, *while_decoding, 0)
    with IMAGE_MEMORY.hold(decoded_bytes + extra_bytes, _description(files, prices), terms) as hold:
        pictures = [
            _decoded(data, name, price.most, None, terms)[0] if by == 1 else _part_of_scan(data, name, price.size, by)
            for (data, name), price, by in zip(files, prices, divisors, strict=True)
        ]
        if whole:
            pictures = [msgspec.structs.replace(picture, data=None) for picture in pictures]
            del files  # the block may run for long
        hold.shrink(decoded_bytes + sum(derived(picture.size) for picture in pictures))
        try:
            yield pictures
        finally:
            pictures.clear()


def open_image(source: bytes | Path, name: str) -> Image.Image:
    with opened_all([(source, name)]) as (picture,):
        return picture.pixels


def shown(source: bytes | Path, name: str, protocol: Protocol, grid: Grid, terms: Terms = OWN) -> Shown:
    """A picture as the model sees it; if crops are cut from its file, that is decoded for each crop. Arguments and
    errors as of `opened_all`.

    A JPEG that does not fit is decoded at a part of its size, if no crop is cut from its file. Others are decoded
    whole: at half of its size, one of 100 megapixels would take 0.6 s of processor time in place of 1.4 s, and a
    quarter of the pixels shown would differ, by up to 2 of 255, from those that rows are converted with for training.

    Raises:
        ValueError: it cannot be shown.
    """
    data = read(source, name)
    price = _priced(data, name, terms)
    terms, fit = _strict_of_scans(terms, price), _fit(price.size, protocol, grid)
    if fit is None:
        with opened_all([(data, name)], terms) as pictures:
            return as_shown(pictures[0], protocol, grid, terms.outside)
    if price.is_jpeg and not terms.outside and fit.wanted[0] == fit.size and (image := undecoded_jpeg(data, name)):
        return image
    most = max(price.most, _resampling_bytes(fit))
    if price.is_jpeg and protocol.crops == "shown" and terms.strict and most > limit():
        fit = msgspec.structs.replace(fit, divisor=_jpeg_divisor(fit))
        most = max(price.reduced(fit.divisor), _resampling_bytes(fit))
    with IMAGE_MEMORY.hold(most, f"{name} has {price.text}", terms):
        picture, original = _decoded(data, name, most, fit, terms)
        image = show_input(picture, protocol, grid)
    image.original = original
    if picture.pixels.mode == STAND_IN:
        return _InDecoder(image, data, most, fit.key)
    is_changed = image.full_source is not None or image.size != original
    return _CutFromFile(image, data, terms.outside) if protocol.crops == "file" and is_changed else image


def stored_image(source: bytes | Path, name: str) -> StoredImage:
    """`stored` within the memory for pictures. Errors as of `opened_all`."""
    data = read(source, name)
    price = _priced(data, name, OWN)
    with IMAGE_MEMORY.hold(price.most, f"{name} has {price.text}"):
        return stored(data, name)


def check_header(source: Source, terms: Terms = OWN) -> None:
    """Refuse what the header of a file already says; errors as of `opened_all`, but for the memory."""
    _priced(read(*source), source[1], terms)


def as_shown(picture: Image.Image | OpenedImage, protocol: Protocol, grid: Grid, outside: bool = False) -> Shown:
    """An open picture as the model sees it; its file is decoded again for each crop. Errors as of `shown`."""
    image = show_input(picture, protocol, grid)
    return _CutFromFile(image, image.full_source, outside) if isinstance(image.full_source, bytes) else image


def _fit(size: Size, protocol: Protocol, grid: Grid) -> Fit | None:
    """The sizes at which a picture is shown that is stored in this one, upright or turned by 90 degrees.

    None: it cannot be shown, or a picture of the resulting size would be resized once more when it is shown.
    """
    if protocol.images == "square_1000":
        return Fit(size, (SQUARE, SQUARE), key=next(_KEYS))
    try:
        model_grid = input_grid(protocol, grid)
        as_stored, turned = (smart_resize(*each, model_grid) for each in (size, size[::-1]))
        is_final = all(smart_resize(*each, model_grid) == each for each in (as_stored, turned))
    except ValueError:
        return None
    return Fit(size, (as_stored, turned), key=next(_KEYS)) if is_final else None


def _resampling_bytes(fit: Fit) -> int:
    """Bytes for a picture while it is resized: as it is, at its new width, and at its new size.

    A picture of the new size may be in the memory of two processes for a moment.
    """
    size = tuple(-(-side // fit.divisor) for side in fit.size)
    from_and_to = zip((size, size[::-1]), fit.wanted, strict=True)
    return RGB * max(
        max(width * height + new_width * height + new_width * new_height, 2 * new_width * new_height)
        for (width, height), (new_width, new_height) in from_and_to
    )


def _jpeg_divisor(fit: Fit) -> int:
    """The largest of libjpeg's divisors (8, 4, 2, 1) at which no side is under the size that is wanted."""
    as_stored, turned = fit.wanted
    times = min(
        stored_side // wanted_side
        for wanted in (as_stored, turned[::-1])
        for stored_side, wanted_side in zip(fit.size, wanted, strict=True)
    )
    return next(each for each in (8, 4, 2, 1) if each <= max(times, 1))


class _CutFromFile(Shown):
    """An image whose crops are cut from its file, which is decoded for them within the memory for pictures."""

    def __init__(self, shown: Shown, data: bytes, outside: bool) -> None:
        size = StandIn(shown.size)
        super().__init__(size, same_pixels_as=shown, original=shown.original, is_jpeg=shown.is_jpeg, full=data)
        self.rendering, self._outside = shown.rendering, outside

    @property
    def full(self) -> Image.Image:
        source = self.full_source
        return _LAST_DECODED.pixels(source, self._outside) if isinstance(source, bytes) else super().full


class _InDecoder(_CutFromFile):
    """An image that is sent as its file, and whose pixels are in the decoder: parts are cut out there."""

    is_elsewhere = True

    def __init__(self, shown: Shown, data: bytes, most: int, key: int) -> None:
        super().__init__(shown, data, outside=True)
        self._data, self._most, self._key = data, most, key
        weakref.finalize(self, DECODER.dropped.append, key).atexit = False

    @property
    def pixels(self) -> Image.Image:
        return self.full

    def part(self, made: Rescaled, size: Size) -> Encoded:
        part, terms = Part(self._key, made.box, made.size, size, self.is_jpeg), Terms(outside=True, seconds=WAIT)
        with IMAGE_MEMORY.hold(self._most, "the picture is large", terms):
            return DECODER.part(self._data, "the picture", self._most, part, terms.check)


class _LastDecoded:
    """The pixels of the file that was decoded last, kept for the crops that follow as long as nobody needs the memory.

    Their memory counts as held until the last reference to them is gone.
    """

    def __init__(self) -> None:
        self._kept: tuple[bytes, Image.Image] | None = None
        self._lock = threading.Lock()

    def pixels(self, data: bytes, outside: bool) -> Image.Image:
        if pixels := self._kept_pixels(data):
            return pixels
        with self._lock:  # several samples of one problem want the same
            if pixels := self._kept_pixels(data):
                return pixels
            with opened_all([(data, "the picture")], Terms(outside, WAIT), whole=True) as pictures:
                pixels = pictures[0].pixels
                hold = IMAGE_MEMORY.keep(RGB * pixels.width * pixels.height)
            weakref.finalize(pixels, hold.shrink, 0).atexit = False
            self._kept = (data, pixels)
            return pixels

    def _kept_pixels(self, data: bytes) -> Image.Image | None:
        """The pixels that are kept, if they are those of this file.

        No caller gets those of another file: while it waits for memory, its reference would keep them counted.
        """
        kept = self._kept
        return kept[1] if kept and kept[0] is data else None

    def drop(self) -> None:
        self._kept = None


_LAST_DECODED = _LastDecoded()
IMAGE_MEMORY.reclaim = _LAST_DECODED.drop


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
    """What it takes to decode a file, from its header. Raises DataError: the header cannot be read."""
    file_price = DECODER.price(data, name, terms.check) if terms.outside else price(data, name)
    if file_price is None:
        # to decode it raises an error that says what is wrong, before anything but the header is read
        _decoded(data, name, 0, None, terms)
        raise DataError(f"{name} is damaged or cut short")
    if terms.outside and math.prod(file_price.size) > MAX_PIXELS:
        raise DataError(f"{name} has {file_price.text}, over {MAX_PIXELS // 10**6} million", "make it smaller first")
    return file_price


def _strict_of_scans(terms: Terms, *prices: Price) -> Terms:
    return msgspec.structs.replace(terms, large=any(math.prod(each.size) > MAX_PIXELS for each in prices))


def _divisor_of_scan(price: Price) -> int:
    """How many times smaller a large JPEG is decoded, so that it fits into the memory for pictures."""
    is_scan = price.is_jpeg and math.prod(price.size) > MAX_PIXELS
    return next((by for by in (1, 2, 4) if price.reduced(by) <= limit()), 8) if is_scan else 1


def _part_of_scan(data: bytes, name: str, size: Size, by: int) -> OpenedImage:
    opened, turned = reduced(data, name, size, by)
    return msgspec.structs.replace(opened, data=data, original=size[::-1] if turned else size)


def _description(files: Sequence[tuple[bytes, str]], prices: Sequence[Price]) -> str:
    """The pictures, and how large they are, as the beginning of a message."""
    if len(files) == 1:
        return f"{files[0][1]} has {prices[0].text}"
    return f"the {len(files)} pictures have {sum(each.size[0] * each.size[1] for each in prices):,} px together"
