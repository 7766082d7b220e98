"""What a file says of its colours and of the shape of its pixels, apart from the numbers that Pillow decodes.

`stated` reads it before the pixels are decoded; `in_stated_colours` and `in_square_pixels` apply it to them.
Sources: ICC.1:2022 (profiles), PNG third edition (gAMA, cHRM, cICP, pHYs), JFIF 1.02, TIFF 6.0, GIF89a, ITU-T H.273
(nclx), Exif 2.32 (R03: Adobe RGB).
"""

import io
import math
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec
from PIL import ExifTags, Image, ImageChops, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from virc.reasoning.calls import Size
from virc.reasoning.pixels.aspects import Answer, Aspect

ANSWERS: Mapping[Aspect, Answer] = {
    "turn": "shown", "pixel shape": "said", "range": "said", "primaries": "said", "transfer": "said",
    "transparency": "said", "interlacing": "cannot be there", "further frames": "said", "tracks": "cannot be there",
    "parts": "said", "clock": "cannot be there", "layers": "cannot be there", "form": "cannot be there",
    "enclosed files": "cannot be there", "missing fonts": "cannot be there",
}  # fmt: skip
"""What is done about each aspect of a picture."""

_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262
_BITS, _SAMPLE_FORMAT = 258, 339
_GREATEST = {((8,), (2,)): 2**7 - 1, ((16,), (2,)): 2**15 - 1, ((32,), (1,)): 2**32 - 1}
"""Bits and sample format (1: without a sign, 2: with one) of a TIFF -> `Stated.greatest`."""
_PILLOW_NEGATES = re.compile(r";\d?I")  # in its name of a decoder, such as `L;4IR`
_PNG_OR_ISO_COLOURS = re.compile(rb"\0\0\0\x04cICP(.)(.)|colrnclx\0(.)\0(.)", re.DOTALL)  # primaries, transfer
JPEGS = ("JPEG", "MPO")  # the second holds further pictures
_HEAD = 2**18  # bytes in which all of that stands
_HDR_TRANSFERS = (16, 18)  # PQ, HLG
_GAIN_MAPS = (b"hdrgm:Version", b"HDRGainMap", b"hdrgainmap", b"urn:iso:std:iso:ts:21496")
_PIXEL_OF_ISO = re.compile(rb"pasp(.{4})(.{4})", re.DOTALL)
_COLORANTS = {
    "sRGB": (0.43607, 0.22249, 0.01392, 0.38515, 0.71687, 0.09708, 0.14307, 0.06061, 0.71410),
    "Adobe RGB": (0.60974, 0.31111, 0.01947, 0.20528, 0.62567, 0.06087, 0.14919, 0.06322, 0.74457),
    "Display P3": (0.51512, 0.24120, -0.00105, 0.29198, 0.69225, 0.04189, 0.15710, 0.06657, 0.78407),
    "BT.2020": (0.67348, 0.27904, -0.00194, 0.16568, 0.67534, 0.02998, 0.12505, 0.04561, 0.79683),
}
"""XYZ of red, green and blue at D50."""
_GREENS = {"Adobe RGB": (0.21, 0.71), "Display P3": (0.265, 0.69), "BT.2020": (0.17, 0.797)}  # x, y
_PRIMARIES = {9: "BT.2020", 11: "Display P3", 12: "Display P3"}  # numbers of H.273
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_SRGB_GAMMA = 1 / 2.2
_SAME = 3  # of 255: a profile that changes no colour more is that of sRGB
_SHAPES = 0.2, 5.0  # least and greatest width of a pixel by its height; what is further off is no shape but a fault
_SQUARE = 0.02

# Pillow refuses numbers of 32 bits, or with a sign, where 0 is white. It reads them as if 0 were black, so that
# `in_stated_colours` can exchange both.
for _key, _modes in [*TiffImagePlugin.OPEN_INFO.items()]:
    if _key[1] == 1:
        TiffImagePlugin.OPEN_INFO.setdefault((_key[0], _WHITE_IS_ZERO, *_key[2:]), _modes)


class Stated(msgspec.Struct, frozen=True):
    """What a file says of its colours and shape.

    Args:
        profile: an ICC profile of other colours than those of sRGB, or None.
        shape: width of a pixel by its height, as Pillow decodes the picture, before EXIF turns it.
        is_negative: 0 is white, and Pillow decodes it as black.
        notes: keys of `aspects.NOTES`.
        greatest: the greatest number that a TIFF of one colour can hold, where Pillow's mode has another; else None.
    """

    profile: Any = None
    shape: float = 1.0
    is_negative: bool = False
    notes: tuple[str, ...] = ()
    greatest: int | None = None

    @property
    def is_plain(self) -> bool:
        return self.profile is None and self.shape == 1 and not self.is_negative and self.greatest is None


def stated(image: Image.Image, data: bytes | None = None) -> Stated:
    """Read what a picture, which is not decoded yet, and its file, where that is there, say of colours and shape."""
    head = (data or b"")[:_HEAD]
    colours = None if image.format in JPEGS else _PNG_OR_ISO_COLOURS.search(head)
    primaries, transfer = (int.from_bytes(each) for each in colours.groups() if each) if colours else (0, 0)
    shape = pixel_shape(image, data)
    notes = ["shape"] if shape != 1 else []
    if transfer in _HDR_TRANSFERS or has_gain_map(_metadata_of(image) if data and image.format == "JPEG" else head):
        notes.append("hdr")
    profile = None
    try:
        content = image.info.get("icc_profile") or _described_profile(image, _PRIMARIES.get(primaries))
        profile = _opened_profile(content, image) if content and transfer not in _HDR_TRANSFERS else None
    except Exception:  # littleCMS refuses what is no profile, or one of other colours than the picture's
        notes.append("profile")
    return Stated(profile, shape, _is_negative(image), tuple(notes), _greatest(image))


def _metadata_of(image: Image.Image) -> bytes:
    """What a JPEG of one picture holds beside its pixels, which would take 50 times as long to search."""
    return b"\n".join(content for _, content in getattr(image, "applist", ()))


def has_gain_map(data: bytes) -> bool:
    """Whether a file, or the XMP block of one, tells of a picture that brightens its first on HDR screens."""
    head = data[:_HEAD]
    return any(mark in head for mark in _GAIN_MAPS)  # each a tenth of the time of one pattern


def pixel_shape(image: Image.Image, data: bytes | None = None) -> float:
    """Width of a picture's pixels by their height; 1.0 where nothing credible is said. See `Stated.shape`."""
    width, height = 1.0, 1.0
    info = image.info
    with suppress(Exception):  # no number, none by zero, a damaged EXIF block
        if data and image.format == "GIF" and data[12]:
            width = (data[12] + 15) / 64
        elif data and data[4:8] == b"ftyp" and (box := _PIXEL_OF_ISO.search(data[:_HEAD])):
            width, height = (int.from_bytes(each) for each in box.groups())
        elif image.format:  # of an image that was made from another the resolution is that of the other
            is_ratio = info.get("jfif_unit") == 0 and info.get("jfif_density") != (1, 1)
            density = info.get("jfif_density") if is_ratio else info.get("dpi")
            density = density or info.get("resolution") or info.get("aspect") or (1, 1)
            height, width = map(float, density)
        if isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.Orientation) in range(5, 9):
            width, height = height, width  # Pillow itself turns a TIFF
        shape = width / height
        return credible(shape)
    return 1.0


def credible(shape: float) -> float:
    """The shape of a pixel; 1.0 where it is nearly square, or a fault."""
    return shape if _SHAPES[0] <= shape <= _SHAPES[1] and abs(shape - 1) > _SQUARE else 1.0


def square_size(size: Size, shape: float) -> Size:
    """(width, height) in square pixels of a picture whose pixels have that shape: no side becomes shorter."""
    return (round(size[0] * shape), size[1]) if shape > 1 else (size[0], round(size[1] / shape))


def in_square_pixels(image: Image.Image, shape: float) -> Image.Image:
    if shape == 1:
        return image
    smooth = {"1": "L", "P": "RGBA" if image.has_transparency_data else "RGB", "I;16B": "I"}
    return image.convert(smooth.get(image.mode, image.mode)).resize(square_size(image.size, shape))


def in_stated_colours(image: Image.Image, meaning: Stated) -> Image.Image:
    """A decoded picture of 8 bits as positive in sRGB; its alpha stays."""
    if meaning.is_negative:
        *colours, last = image.split()
        is_alpha = image.mode in ("LA", "RGBA")
        colours = [ImageChops.invert(each) for each in (colours if is_alpha else [*colours, last])]
        image = Image.merge(image.mode, [*colours, last] if is_alpha else colours)
    return in_srgb(image, meaning.profile) if meaning.profile else image


def in_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """A decoded picture of 8 bits whose colours are those of `profile`: RGB or RGBA in sRGB."""
    from PIL import ImageCms

    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    coloured = image.convert(_MODES[profile.profile.xcolor_space])
    if coloured is image:
        coloured = image.copy()
    in_place = coloured.mode == "RGB"
    converted = ImageCms.profileToProfile(coloured, profile, _srgb(), outputMode="RGB", inPlace=in_place) or coloured
    if alpha:
        converted.putalpha(alpha)
    converted.info = {}
    return converted


_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def _srgb() -> Any:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def profile_of(primaries: int) -> Any:
    """The profile of colours by their number in H.273 and the curve of sRGB; None: they are not wider than sRGB."""
    from PIL import ImageCms

    name = _PRIMARIES.get(primaries)
    return name and ImageCms.ImageCmsProfile(io.BytesIO(_matrix_profile(name, None)))


def _opened_profile(content: bytes, image: Image.Image) -> Any:
    """A profile, or None where it is that of sRGB. Raises: it cannot be read, or has other colours."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    mode = _MODES[profile.profile.xcolor_space]
    is_grey, is_ink = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I"), image.mode == "CMYK"
    if (mode == "L" and not is_grey) or (mode == "CMYK") != is_ink:
        raise ValueError("it is a profile of other colours")
    swatches = _swatches(mode)
    shown, as_they_are = in_srgb(swatches, profile), swatches.convert("RGB")
    most = max(high for _, high in ImageChops.difference(shown, as_they_are).getextrema())  # type: ignore[misc]
    return profile if most > _SAME else None


def _swatches(mode: str) -> Image.Image:
    """A picture with colours from all over a mode's range."""
    steps = bytes(range(0, 256, 51))
    content = b"".join(bytes((red, green, blue)) for red in steps for green in steps for blue in steps)
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    return Image.frombytes("RGB", (36, 6), content).convert("CMYK" if mode == "CMYK" else "RGB")


def _described_profile(image: Image.Image, primaries: str | None) -> bytes | None:
    """A profile of the colours that a file describes otherwise: by numbers, or by EXIF's sign of Adobe RGB."""
    gamma = None
    with suppress(Exception):  # a damaged EXIF block
        gamma = image.info.get("gamma") if "srgb" not in image.info else None
        green = image.info.get("chromaticity", (0,) * 8)[4:6]
        near = (name for name, xy in _GREENS.items() if math.dist(green, xy) < 0.01)
        primaries = primaries or (next(near, None) if "srgb" not in image.info else None)
        if "exif" in image.info:  # else Pillow decodes a PNG in search of it
            index = image.getexif().get_ifd(ExifTags.IFD.Interop).get(1)
            primaries, gamma = ("Adobe RGB", _SRGB_GAMMA) if str(index).startswith("R03") else (primaries, gamma)
    if primaries == "Adobe RGB":
        gamma = gamma or _SRGB_GAMMA
    elif gamma and abs(gamma - _SRGB_GAMMA) < 0.01:
        gamma = None  # as PNG writes sRGB
    return _matrix_profile(primaries or "sRGB", gamma) if primaries or gamma else None


def _matrix_profile(primaries: str, gamma: float | None) -> bytes:
    """An ICC profile of version 4: colours of red, green and blue, and one curve; without a gamma that of sRGB."""

    def fixed(*numbers: float) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(each * 65536) for each in numbers))

    xyz = [b"XYZ \0\0\0\0" + fixed(*_COLORANTS[primaries][at : at + 3]) for at in (0, 3, 6)]
    kind, numbers = (0, (1 / gamma,)) if gamma else (3, _SRGB_CURVE)
    curve = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*numbers)
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    start, body, table = 128 + 4 + 12 * len(names), b"", b""
    for name, content in zip(names, [*xyz, curve, curve, curve], strict=True):
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = b"\0" * 8 + struct.pack(">I", 0x04200000) + b"mntrRGB XYZ " + b"\0" * 12 + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642, 1.0, 0.8249)
    profile = head.ljust(128, b"\0") + struct.pack(">I", len(names)) + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


def _greatest(image: Image.Image) -> int | None:
    tags: Any = image.tag_v2 if isinstance(image, TiffImageFile) and image.mode in ("L", "I") else {}
    return _GREATEST.get((tags.get(_BITS), tags.get(_SAMPLE_FORMAT, (1,))))


def _is_negative(image: Image.Image) -> bool:
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return False
    if not image.tile:  # it is decoded: Pillow has turned round what has 8 bits
        return image.mode.startswith(("I", "F"))
    arguments = image.tile[0].args
    return not _PILLOW_NEGATES.search(arguments if isinstance(arguments, str) else str((arguments or ("",))[0]))
