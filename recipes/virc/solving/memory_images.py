"""Pictures that a Python caller has in memory: files as bytes, and PIL images."""

import io

from PIL import Image, ImageOps

from virc.core.errors import UsageError
from virc.reasoning.images import Rendering, decoding, jpeg_mark, load, own_copy, tiff_description, upright_shape
from virc.reasoning.pixels import depth
from virc.reasoning.pixels.appearance import Stated, in_square_pixels, in_stated_colours, stated
from virc.reasoning.pixels.depth import Levels

_TIFF = "1 L LA P PA RGB RGBA I I;16 I;16B F".split()  # modes that a TIFF keeps and that are not turned

InMemory = bytes | bytearray | memoryview | Image.Image


def is_in_memory(value: object) -> bool:
    """Whether a value is a picture in memory, or an array or open file, which `file_of_memory` refuses by name."""
    return isinstance(value, InMemory) or hasattr(value, "__array__") or hasattr(value, "read")


def file_of_memory(picture: object, name: str = "the picture") -> tuple[bytes, str]:
    """Return the file of a picture of a Python caller, and its name for messages."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture), name
    if isinstance(picture, Image.Image):
        with decoding(name):  # an image may be decoded first
            meaning = stated(picture)
            deep = own_copy(picture) if depth.is_deep(picture) else None
            levels = load(deep) if deep else None
        return _tiff(deep or picture, levels, meaning, name), name
    kind = f"{type(picture).__module__}.{type(picture).__qualname__}".removeprefix("builtins.")
    hint = "PIL.Image.open(FILE)"
    if hasattr(picture, "__array__"):
        hint = "PIL.Image.fromarray(array), or torchvision.transforms.functional.to_pil_image(tensor)"
    raise UsageError(f"{name} is of type {kind}, not a path, a URL, bytes or a PIL.Image", hint)


def _tiff(image: Image.Image, levels: Levels | None, meaning: Stated, name: str) -> bytes:
    file = io.BytesIO()
    with decoding(name):  # an image may be decoded first
        mark, shape = jpeg_mark(image), upright_shape(image, meaning)
        upright = ImageOps.exif_transpose(image)
        if meaning.greatest or (meaning.is_negative and upright.mode.startswith(("I", "F"))):
            upright, levels, _ = depth.grey(upright, meaning.greatest)
            levels = levels[::-1] if meaning.is_negative else levels
        if upright.has_transparency_data:
            upright = upright.convert("LA" if upright.mode == "La" else "RGBA")
        elif upright.mode not in _TIFF and not meaning.profile:
            upright = upright.convert("RGB")
        upright = in_square_pixels(in_stated_colours(upright, meaning), shape)
        upright.info = {}
        description = tiff_description(Rendering(range=levels, notes=meaning.notes))
        marks = {"software": mark, "description": description}
        upright.save(file, "TIFF", compression="raw", **{name: mark for name, mark in marks.items() if mark})
    return file.getvalue()
