"""What a GGUF file says of itself, read from its first bytes; nothing of its weights is touched.

The layout is that of ggml's `docs/gguf.md`: a magic number, a version, two counts, then keys with typed values.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from virc.core.errors import ConfigError, errors_as

_MAGIC, _STRING, _ARRAY = b"GGUF", 8, 9
_NUMBERS = dict(enumerate(("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?"))) | {10: "<Q", 11: "<q", 12: "<d"}
"""Type of a value -> how `struct` reads it."""
_MAX_SIDES = 8
_MAX_KEYS, _MAX_TEXT, _MAX_ITEMS = 100_000, 16 * 2**20, 10_000_000

Value = str | int | float | bool


def read_header(path: Path) -> Mapping[str, Value]:
    """The keys of a GGUF file whose values are texts or numbers; lists, such as the vocabulary, are passed over."""
    damaged = errors_as(ConfigError, f"{path} is a damaged GGUF file", "download it again", (ValueError, struct.error))
    with errors_as(ConfigError, f"cannot read {path}"), damaged, path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ConfigError(f"{path} is no GGUF file", "download it again: it may be a page or a pointer instead")
        version, tensors, keys = struct.unpack("<IQQ", _exactly(file, 20))
        values = dict(_pairs(file, version, keys))
        _check_whole(file, tensors)
        return values


def _check_whole(file: BinaryIO, tensors: int) -> None:
    """Refuse a file that ends before its last tensor begins, as a broken download does."""
    if tensors > _MAX_KEYS:
        raise ValueError(f"{tensors} tensors")
    last = 0
    for _ in range(tensors):
        _text(file)
        (sides,) = struct.unpack("<I", _exactly(file, 4))
        if sides > _MAX_SIDES:
            raise ValueError(f"a tensor of {sides} sides")
        _exactly(file, sides * 8 + 4)
        last = max(last, *struct.unpack("<Q", _exactly(file, 8)))
    begin, end = file.tell(), file.seek(0, 2)
    if begin + last > end:
        raise ValueError("it ends too early")


def _pairs(file: BinaryIO, version: int, keys: int) -> Iterator[tuple[str, Value]]:
    if version not in (2, 3) or keys > _MAX_KEYS:
        raise ValueError(f"version {version} with {keys} keys")
    for _ in range(keys):
        key = _text(file)
        value = _value(file, *struct.unpack("<I", _exactly(file, 4)))
        if value is not None:
            yield key, value


def _value(file: BinaryIO, kind: int) -> Value | None:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        form = _form(kind)
        (value,) = struct.unpack(form, _exactly(file, struct.calcsize(form)))
        return value  # type: ignore[no-any-return]
    kind, count = struct.unpack("<IQ", _exactly(file, 12))
    if count > _MAX_ITEMS or kind == _ARRAY:
        raise ValueError(f"a list of {count} values of type {kind}")
    if kind != _STRING:
        file.seek(count * struct.calcsize(_form(kind)), 1)
        return None
    for _ in range(count):
        file.seek(_length(file), 1)
    return None


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(f"a value of type {kind}")
    return _NUMBERS[kind]


def _text(file: BinaryIO) -> str:
    return _exactly(file, _length(file)).decode("utf-8", "replace")


def _length(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", _exactly(file, 8))
    if length > _MAX_TEXT:
        raise ValueError(f"a text of {length} bytes")
    return int(length)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it ends too early")
    return data
