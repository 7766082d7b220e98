"""One conversation as the published ViRC script saves it, and `virc solve --trace`: a JSON list of its messages.

    [{"role": "user", "content": "Image 0: …", "image": "image-0.png"}, {"role": "assistant", "content": "<think>…"}, …]

`image` is a file next to it, shown before the text; `images` are those of a turn that shows several. Both programs keep
the system message out.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.json_stream import MAX_ROW_BYTES, Fields, array_rows, first_object
from virc.core.tables.encodings import open_utf8
from virc.data.formats.registry import Holds, RowsFile
from virc.data.formats.sft import rows
from virc.data.formats.trajectories import holds_conversation
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import MARK

NAME = "conversation"
HOLDS: Holds = "solutions"

_ONE_EACH = "a file of this format holds one"


def recognises(path: Path) -> bool:
    """Whether it is a .json file that holds a list of messages, or a list of such lists, which `read` refuses.

    It is tried before the format sft, whose arrays begin in the same way: formats are tried in order of their names.
    """
    if path.suffix.lower() != ".json":
        return False
    try:
        with open_utf8(path) as file:
            several = _are_several(file.read(4096))
            file.seek(0)
            if several:
                return first_object(array_rows(file)) is None
            _, first = next(array_rows(file), (0, None))
    except OSError:
        return False
    if not isinstance(first, dict) or not isinstance(first.get("role"), str):
        return False
    return not holds_conversation({key: value for key, value in first.items() if key != "content"})


def read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]:
    """The one row of the file, or its fault. Raises DataError: the file cannot be read."""
    with errors_as(DataError, f"{source.file} cannot be read"), open_utf8(source.file) as file:
        data = file.read(MAX_ROW_BYTES + 1)
    if start > 1:
        return
    try:
        if len(data) > MAX_ROW_BYTES:
            raise DataError(f"{source.file} cannot be read: it is over {MAX_ROW_BYTES >> 20} MiB")
        row = _row(data)
    except DataError as fault:
        yield ParsedRow(1, fault=fault)
        return
    yield from rows(msgspec.structs.replace(source, info={}), [(1, row)], "row")


def _are_several(start: bytes) -> bool:
    return b"".join(start.split(maxsplit=3)).startswith(b"[[{")


def _row(data: bytes) -> Fields:
    if _are_several(data[:4096]):
        raise DataError(f"there are several conversations in it, and {_ONE_EACH}", "write each to its own file")
    messages, images = [], []
    for number, message in array_rows(io.BytesIO(data)):
        if isinstance(message, DataError):
            raise DataError(f"message {message.message.removeprefix('row ')}")
        one, several = message.get("image"), message.get("images")
        shown = several if several is not None else [] if one is None else [one]
        if not isinstance(shown, list) or not all(isinstance(name, str) for name in shown):
            raise DataError(f"message {number} does not name its images by text")
        if shown and message.get("role") != "user":
            raise DataError(f"message {number} shows an image, as only a message of user can")
        content = message.get("content")
        if isinstance(content, str):
            if MARK in content:
                raise DataError(f"message {number} has {MARK} in its text; images are named in their own field")
            content = MARK * len(shown) + content
        messages.append({"role": message.get("role"), "content": content})
        images += shown
    return {"messages": messages, "images": images}
