"""The sizes of a row's images as shown, and those that its text states."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from virc.data.check.verdict import Fault, Rules
from virc.data.rows.record import Record, images_of, inputs_of
from virc.reasoning.calls import Size
from virc.reasoning.images import SQUARE
from virc.reasoning.resize import smart_resize

_LINE = "Image {index}: {width} x {height}"


def as_shown(record: Record, files: Sequence[Size | None], rules: Rules) -> list[Size | None]:
    """(width, height) in px of each image as it is shown; None where its file does not open.

    Where no chat protocol tells how images are shown, those of 1000 x 1000 px with boxes in permille may be announced
    as
    they are: some of these sets were made without a patch grid.

    Args:
        files: sizes of the images in their files.
    """
    inputs = set(inputs_of(record))
    said = {at: size for message in record.messages for at, size in stated(message.content, rules).items()}

    def square(index: int, size: Size) -> bool:
        if rules.protocol:
            return rules.protocol.images == "square_1000" and index in inputs
        return rules.coordinates == "permille" and size == said.get(index) == SQUARE

    return [
        size and (SQUARE if square(index, size) else smart_resize(*size)) for index, size in enumerate(files)
    ]


def check(record: Record, sizes: Sequence[Size | None], rules: Rules) -> Iterator[Fault]:
    """The lines that announce an image with another number or size than it has."""
    for message, indices in zip(record.messages, images_of(record), strict=True):
        said = stated(message.content, rules) if message.role == "user" else {}
        for index in indices if said else ():
            if index not in said:
                others = ", ".join(map(str, said))
                yield Fault("size_differs", f"image {index} is announced as image {others}")
            elif index < len(sizes) and (size := sizes[index]) and size != said[index]:
                text = f"image {index} is said to be {_text(said[index])}, and is shown at {_text(size)} px"
                yield Fault("size_differs", text)


def stated(text: str, rules: Rules) -> dict[int, Size]:
    """The (width, height) that a text states for images, by their index."""
    pattern = _pattern(rules.protocol.image_line if rules.protocol else _LINE)
    found: dict[int, Size] = {}
    for match in pattern.finditer(text) if pattern else ():
        found.setdefault(int(match["index"]), (int(match["width"]), int(match["height"])))
    return found


@lru_cache
def _pattern(template: str) -> re.Pattern[str] | None:
    """What finds a line of that template; None where it does not tell number and size."""
    pattern = re.escape(template)
    for name in ("index", "width", "height"):
        place = re.escape(f"{{{name}}}")
        if place not in pattern:
            return None
        pattern = pattern.replace(place, rf"(?P<{name}>\d{{1,9}})", 1).replace(place, r"\d{1,9}")
    return re.compile(pattern)


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
