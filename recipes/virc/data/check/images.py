"""The images of rows: whether each opens, a hash of what it shows, and the size that the text announces."""

import errno
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.core.files import as_named, is_file, link_hint
from virc.core.text import clause, plain
from virc.core.web.addresses import is_private
from virc.data.check.result import Fault, Rules
from virc.data.protocol.templates import NUMBERS, named_numbers, regex
from virc.data.rows.fingerprint import fingerprint
from virc.data.rows.pictures import key
from virc.data.rows.record import Picture, Record, images_of, inputs_of
from virc.data.rows.remembered import remembered
from virc.reasoning.calls import Size
from virc.reasoning.history import input_grid
from virc.reasoning.images import SQUARE
from virc.reasoning.opening.pictures import opened_all, stored_image
from virc.reasoning.pixels.depth import strips
from virc.reasoning.resize import smart_resize

_MAX_KNOWN = 2**13
_LINE = "Image {index}: {width} x {height}"


class DecodedImage(msgspec.Struct, frozen=True):
    """The size in px and, of a picture that is compared with others, a hash of the pixels and a fingerprint; or why it
    does not open. None of these of one on the network.
    """

    size: Size | None = None
    pixels: int = 0
    fingerprint: Image.Image | None = None
    fault: Fault | None = None


_known: dict[bytes, DecodedImage] = {}


def decoded(picture: Picture, compared: bool = False) -> DecodedImage:
    own = key(picture)
    known = _known.get(own)
    if known is None or (compared and known.size and known.fingerprint is None):
        found = _decoded(picture, compared)
        if len(_known) >= _MAX_KNOWN:
            del _known[next(iter(_known))]
        _known[own] = found
    return _known[own]


def _decoded(picture: Picture, compared: bool) -> DecodedImage:
    if picture.on_network and (picture.fetched or not picture.confined):
        return DecodedImage()
    try:
        if compared:
            with opened_all([(picture.read(), _called(picture))]) as (opened,):
                return DecodedImage(opened.size, _hash(opened.pixels), fingerprint(opened.pixels))
        source = picture.file() if picture.data is None else picture.data
        return DecodedImage(remembered(source, lambda: stored_image(picture.read(), _called(picture))).size)
    except OSError as error:
        return DecodedImage(fault=_unreadable(picture, error))
    except DataError as error:
        return DecodedImage(fault=Fault("image_broken", error.message))


def _hash(image: Image.Image) -> int:
    digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=8)
    for _, rows in strips(image):
        digest.update(rows.tobytes())
    return int.from_bytes(digest.digest(), "big", signed=True)


def file_of(picture: Picture) -> str:
    """The file that LLaMA-Factory opens for an image, whose name may be absolute or lead out of the folder."""
    return str(as_named(picture.folder, picture.name))


def no_file(picture: Picture) -> Fault | None:
    """Why an image has no file, if it is not in its row either; its file is not opened."""
    try:
        return (
            None if picture.data is not None or is_file(picture.path()) else _unreadable(picture, FileNotFoundError())
        )
    except OSError as error:
        return _unreadable(picture, error)


def _called(picture: Picture) -> str:
    return plain(picture.name, 120) or "an image without a name"


def _unreadable(picture: Picture, error: OSError) -> Fault:
    name = _called(picture)
    if picture.on_network:
        kind = "a private address" if is_private(picture.name) else "an address"
        return Fault("image_on_network", f"{name} is {kind}, and training reads files alone")
    if isinstance(error, FileNotFoundError):
        where = " in the dataset's folder, and engines look for it where they are started" * picture.confined
        return Fault("image_missing", f"there is no file {name}{where}")
    if error.errno == errno.EPERM:
        return Fault("image_outside", f"{name}: {clause(error)}; {link_hint(error)}")
    return Fault("image_unreadable", f"{name}: {clause(error)}")


def sizes_shown(record: Record, files: Sequence[Size | None], rules: Rules) -> list[Size | None]:
    """(width, height) in px of each image as it is shown; None where its file does not open.

    Where no chat protocol says how images are shown, those of 1000 x 1000 px with boxes in permille may be announced
    as they are: some of these sets were made without a patch grid.
    """
    inputs = set(inputs_of(record))
    announced = all_announced(record, rules)

    def is_square(index: int, size: Size) -> bool:
        if rules.protocol:
            return rules.protocol.images == "square_1000" and index in inputs
        return rules.coordinates == "permille" and size == announced.get(index) == SQUARE

    def shown(index: int, size: Size) -> Size:
        if is_square(index, size):
            return SQUARE
        its_own = input_grid(rules.protocol, rules.grid) if rules.protocol and index in inputs else rules.grid
        return smart_resize(*size, its_own)

    return [size and shown(index, size) for index, size in enumerate(files)]


def check_announced(record: Record, sizes: Sequence[Size | None], rules: Rules) -> Iterator[Fault]:
    for message, indices in zip(record.messages, images_of(record), strict=True):
        said = announced_in(message.content, rules) if message.role == "user" else {}
        for index in indices if said else ():
            if index not in said:
                others = ", ".join(map(str, said))
                yield Fault("size_differs", f"image {index} is announced as image {others}")
            elif index < len(sizes) and (size := sizes[index]) and size != said[index]:
                stated, shown = (f"{width} x {height}" for width, height in (said[index], size))
                yield Fault("size_differs", f"image {index} is announced with {stated}, and is shown at {shown} px")


def all_announced(record: Record, rules: Rules) -> dict[int, Size]:
    return {at: size for each in record.messages for at, size in announced_in(each.content, rules).items()}


def announced_in(text: str, rules: Rules) -> dict[int, Size]:
    """The (width, height) that a text states for images, by their index."""
    pattern = _pattern(rules.protocol.image_line if rules.protocol else _LINE)
    found: dict[int, Size] = {}
    for match in pattern.finditer(text) if pattern else ():
        found.setdefault(int(match["index"]), (int(match["width"]), int(match["height"])))
    return found


@lru_cache
def _pattern(template: str) -> re.Pattern[str] | None:
    if not all(f"{{{name}}}" in template for name in NUMBERS):
        return None
    return re.compile(regex(template, **named_numbers()))
