"""The images of rows: whether each opens, at what size it is shown, and the size that the text announces."""

import errno
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from virc.core.errors import DataError
from virc.core.files import as_named, is_file, link_hint
from virc.core.http.addresses import is_private
from virc.core.text import clause
from virc.data.check.result import Fault, Rules
from virc.data.protocol.templates import NUMBERS, named_numbers, regex
from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Message, Picture, Record, file_sizes_of, images_of, inputs_of
from virc.data.rows.remembered import DecodedImage, called, decoded
from virc.data.rows.sizes import Spoken, display_sizes
from virc.reasoning.calls import Size
from virc.reasoning.images import SQUARE

_LINE = "Image {index}: {width} x {height}"


class RowImageSet(msgspec.Struct, frozen=True):
    """The images of a row, in its order.

    Args:
        files: (width, height) in px of each file; None of one that does not open.
        shown: the same as shown.
        inputs: indices of those of the question.
        input_files: (width, height) in px of the files of the question, as the row says, else of what it has.
    """

    decoded: Sequence[DecodedImage]
    files: Sizes
    shown: Sizes
    inputs: Sequence[int]
    input_files: Sizes


def images_of_row(record: Record, rules: Rules) -> RowImageSet:
    inputs = [index for index in inputs_of(record) if index < len(record.images)]
    stated = file_sizes_of(record)
    images = [decoded(picture, rules.compared) for picture in record.images]
    files = [image.size for image in images]
    shown = display_sizes(record, files, rules, announced_squares(record, files, rules))
    return RowImageSet(images, files, shown, inputs, stated or [files[index] for index in inputs])


def check_images(record: Record, images: RowImageSet) -> list[Fault]:
    """Why images do not open; where all do, which of them have no file."""
    faults = [
        why_closed(picture, each.error)
        for picture, each in zip(record.images, images.decoded, strict=True)
        if each.error
    ]
    return faults or [fault for each in record.images if each.on_network and (fault := no_file(each))]


def file_of(picture: Picture) -> str:
    """The file that LLaMA-Factory opens for an image, whose name may be absolute or lead out of the folder."""
    return str(as_named(picture.folder, picture.name))


def no_file(picture: Picture) -> Fault | None:
    """Why an image has no file, if it is not in its row either; its file is not opened."""
    try:
        return None if picture.data is not None or is_file(picture.path()) else why_closed(picture, FileNotFoundError())
    except OSError as error:
        return why_closed(picture, error)


def why_closed(picture: Picture, error: OSError | DataError) -> Fault:
    if isinstance(error, DataError):
        return Fault("image_broken", error.message)
    name = called(picture)
    if picture.on_network:
        kind = "a private address" if is_private(picture.name) else "an address"
        return Fault("image_on_network", f"{name} is {kind}, and training reads files alone")
    if isinstance(error, FileNotFoundError):
        where = " in the dataset's folder, and engines look for it where they are started" * picture.confined
        return Fault("image_missing", f"there is no file {name}{where}")
    if error.errno == errno.EPERM:
        return Fault("image_outside", f"{name}: {clause(error)}; {link_hint(error)}")
    return Fault("image_unreadable", f"{name}: {clause(error)}")


def announced_squares(record: Record, files: Sizes, spoken: Spoken) -> set[int]:
    """Indices of images of 1000 x 1000 px that are announced as they are, where no chat protocol says how images are
    shown, and boxes are in permille: some of these sets were made without a patch grid.
    """
    if spoken.protocol or spoken.coordinates != "permille" or SQUARE not in files:
        return set()
    announced = all_announced(record, spoken)
    return {index for index, size in enumerate(files) if size == announced.get(index) == SQUARE}


def check_announced(record: Record, messages: Sequence[Message], sizes: Sizes, rules: Rules) -> Iterator[Fault]:
    """Whether the first messages of a record announce images as they are shown."""
    for message, indices in zip(messages, images_of(record), strict=False):
        said = announced_in(message.content, rules) if message.role == "user" else {}
        for index in indices if said else ():
            if index not in said:
                others = ", ".join(map(str, said))
                yield Fault("size_differs", f"image {index} is announced as image {others}")
            elif index < len(sizes) and (size := sizes[index]) and size != said[index]:
                stated, shown = (f"{width} x {height}" for width, height in (said[index], size))
                yield Fault("size_differs", f"image {index} is announced with {stated}, and is shown at {shown} px")


def all_announced(record: Record, spoken: Spoken) -> dict[int, Size]:
    return {at: size for each in record.messages for at, size in announced_in(each.content, spoken).items()}


def announced_in(text: str, spoken: Spoken) -> dict[int, Size]:
    """The (width, height) that a text states for images, by their index."""
    pattern = _pattern(spoken.protocol.image_line if spoken.protocol else _LINE)
    found: dict[int, Size] = {}
    for match in pattern.finditer(text) if pattern else ():
        found.setdefault(int(match["index"]), (int(match["width"]), int(match["height"])))
    return found


@lru_cache
def _pattern(template: str) -> re.Pattern[str] | None:
    if not all(f"{{{name}}}" in template for name in NUMBERS):
        return None
    return re.compile(regex(template, **named_numbers()))
