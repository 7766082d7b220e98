"""Pictures that a Python caller has in memory: files as bytes, open files, PIL images and arrays."""

import io
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from PIL import Image, ImageOps

from virc.core.errors import DataError, UsageError
from virc.core.text import clause
from virc.reasoning import depth
from virc.reasoning.images import MAX_BYTES, decoding, jpeg_mark, load, own_copy, tiff_description

_SHAPES = "numbers of H x W, H x W x 3 (RGB) or H x W x 4 (RGBA)"
_TIFF = "1 L LA P PA RGB RGBA I I;16 I;16B F".split()  # modes that a TIFF keeps and that are not turned


@runtime_checkable
class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes:
        """The next bytes."""


@runtime_checkable
class Array(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Its shape, type and address."""


InMemory = bytes | bytearray | memoryview | Image.Image | Readable | Array


def is_in_memory(value: object) -> bool:
    return isinstance(value, InMemory) or hasattr(value, "__array__")


def file_of_memory(picture: object, name: str = "the picture") -> tuple[bytes, str]:
    """Return the file of a picture of a Python caller, and its name for messages."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture), name
    if isinstance(picture, Image.Image):
        with decoding(name):  # an image may be decoded first
            deep = own_copy(picture) if depth.is_deep(picture) else None
            levels = load(deep) if deep else None
        return _tiff(deep or picture, tiff_description(levels) if levels else None, name), name
    if isinstance(picture, Array):
        return _tiff(*_of_array(picture, name), name), name
    if isinstance(picture, Readable) and not isinstance(picture, type):
        return _contents(picture, name), name
    kind = f"{type(picture).__module__}.{type(picture).__qualname__}".removeprefix("builtins.")
    hint = f"PIL.Image.open(FILE), or a numpy array: {_SHAPES}"
    if hasattr(picture, "__array__"):  # of torch, jax, tensorflow: on a device, and mostly floats with channels first
        hint = f"make it a numpy array, {_SHAPES}; torchvision.transforms.functional.to_pil_image(tensor) does"
    raise UsageError(f"{name} is of type {kind}, not a path, a URL, bytes, a file, a PIL.Image or a numpy array", hint)


def _contents(file: Readable, name: str) -> bytes:
    seek = getattr(file, "seek", None)
    try:
        if seek and getattr(file, "seekable", lambda: True)():
            seek(0)  # as PIL does: one that was just written stands at its end
        content: object = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed, or text that is no UTF-8
        raise DataError(f"{name} cannot be read: {clause(error)}") from error
    if not isinstance(content, bytes):
        raise UsageError(f"{name} is a file of text", 'open(FILE, "rb")')
    return content


def _of_array(array: Array, name: str) -> tuple[Image.Image, str | None]:
    """An image of an array; of colours of over 8 bits in 8, with what tells their range."""
    interface: Mapping[str, Any] = array.__array_interface__
    shape, kind = tuple(interface["shape"]), str(getattr(array, "dtype", interface["typestr"]))
    given = f"{name} is an array of {kind}, {' x '.join(map(str, shape)) or 'one number'}"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise UsageError(f"{given}: its channels come first", "array.transpose(1, 2, 0)")
    if len(shape) == 4:
        raise UsageError(f"{given}: several pictures", "list(array) gives one array each")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise UsageError(f"{given}, not {_SHAPES}")
    if interface["typestr"][1] not in "buif":
        raise UsageError(f"{given}, not {_SHAPES}", "array.astype('uint8')")
    if 0 in shape:
        raise DataError(f"{given}: it is empty")
    plane: Any = array[:, :, 0] if len(shape) == 3 and shape[2] == 1 else array  # type: ignore[index]
    if interface["typestr"][1:] == "u1":
        return Image.fromarray(plane), None
    if interface["typestr"][1:] == "b1":
        return Image.fromarray(plane.astype("u1") * 255), None
    wide = plane.astype("f4")
    is_whole = interface["typestr"][1] in "ui" and -(2**31) <= plane.min() <= plane.max() < 2**31
    numbers = plane.astype("i4") if is_whole else wide
    if len(shape) == 2 or shape[2] == 1:
        return Image.fromarray(plane if interface["typestr"][1:] == "u2" else numbers), None
    finite = wide[abs(wide) <= 3.4e38]
    if finite.size and not 0 <= finite.min() <= finite.max() <= 65535:  # colours that were stretched would be others
        raise UsageError(f"{given}, of numbers that are not from 0 to 65535", "array.clip(0, 1) where 1 is white")
    bands = [Image.fromarray(numbers[:, :, each]) for each in range(shape[2])]
    with decoding(name):
        shown, levels, missing = depth.colours(bands[:3], *bands[3:])
    return shown, tiff_description(levels, missing)


def _tiff(image: Image.Image, description: str | None, name: str) -> bytes:
    file = io.BytesIO()
    with decoding(name):  # an image may be decoded first
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            upright = upright.convert("LA" if upright.mode == "La" else "RGBA")
        elif upright.mode not in _TIFF:
            upright = upright.convert("RGB")
        upright.info = {}
        marks = {"software": jpeg_mark(image), "description": description}
        upright.save(file, "TIFF", compression="raw", **{name: mark for name, mark in marks.items() if mark})
    return file.getvalue()
