"""The sizes of the files of a row's question: its images are as shown, and crops from the file depend on more."""

from collections.abc import Mapping, Sequence
from typing import Any

from virc.data.rows.record import Record, inputs_of
from virc.reasoning.calls import Size
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import MAX_PIXELS

FIELD = "file_sizes"


def fields(images: Sequence[Shown], protocol: Protocol) -> Mapping[str, Any]:
    """The field of a row with these images, where one was shown smaller than the file that crops are cut from."""
    inputs = [shown for shown in images if shown.original]
    if protocol.crops == "shown" or all(shown.original == shown.size for shown in inputs):
        return {}
    return {FIELD: [shown.original for shown in inputs]}


def of(record: Record) -> Sequence[Size] | None:
    """(width, height) in px of the file of every input; None where the row does not say."""
    sizes = record.extra.get(FIELD)
    if not isinstance(sizes, list) or len(sizes) != len(inputs_of(record)) or not all(map(_is_size, sizes)):
        return None
    return [(width, height) for width, height in sizes]


def of_inputs(record: Record, files: Sequence[Size | None]) -> Sequence[Size | None]:
    """(width, height) in px of the file of every input, as the row says; else of what the row has, of those `files`."""
    return of(record) or [files[index] for index in inputs_of(record) if index < len(files)]


def _is_size(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(side) is not int for side in value):
        return False
    return bool(min(value) >= 1 and value[0] * value[1] <= MAX_PIXELS)
