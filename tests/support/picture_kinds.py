"""Pictures of every kind that rows hold, as files."""

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image, ImageCms, ImageDraw
from support.row_files import encoded, png_chunk

SIZE = (112, 84)


class Kind(NamedTuple):
    """A file's ending and bytes, and why `Image.open(…).convert("RGB")` does not show it as solving does, if so."""

    ending: str
    data: bytes
    why: str = ""


def _drawn(mode: str = "RGB", paper: object = "white", ink: object = (200, 30, 40)) -> Image.Image:
    image = Image.new(mode, SIZE, paper)  # type: ignore[arg-type]
    ImageDraw.Draw(image).rectangle((10, 10, 60, 30), fill=ink)  # type: ignore[arg-type]
    return image


def _turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(_drawn(), kind, exif=exif)


def _ramp(mode: str, most: float) -> Image.Image:
    """Numbers from 0 to about `most`, left to right."""
    pixels = [most * (at % SIZE[0]) / SIZE[0] for at in range(SIZE[0] * SIZE[1])]
    image = Image.new("F" if mode == "F" else "I", SIZE)
    image.putdata(pixels if mode == "F" else [int(each) for each in pixels])
    return image.convert(mode)


def _deep(kind: int, bands: int, most: int = 0xFFFF) -> bytes:
    """A PNG with 16 bits for each of its colours, which Pillow does not write."""
    width, height = SIZE
    row = b"\0" + b"".join(struct.pack(">H", most * x // width) * bands for x in range(width))

    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(row * height)) + png_chunk(b"IEND", b"")


def _transparent(mode: str = "RGBA", alpha: int = 0) -> Image.Image:
    image = _drawn("RGBA", (0, 0, 0, alpha), (200, 30, 40, 255))
    return image.convert(mode)


def _kinds() -> dict[str, Kind]:
    palette, clear = _drawn().quantize(8), _drawn().quantize(8)
    frames = [_drawn(paper=colour) for colour in ("white", "yellow")]
    further: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return {
        "RGB": Kind(".png", encoded(_drawn())),
        "grey": Kind(".png", encoded(_drawn("L", 255, 90))),
        "one bit": Kind(".png", encoded(_drawn("1", 1, 0))),
        "palette": Kind(".png", encoded(palette)),
        "palette, clear": Kind(".png", encoded(clear, transparency=clear.getpixel((20, 20))), "transparent"),
        "palette with alphas": Kind(".png", encoded(_transparent().quantize(8)), "transparent"),
        "RGBA": Kind(".png", encoded(_transparent()), "transparent"),
        "RGBA, half": Kind(".png", encoded(_transparent(alpha=128)), "transparent"),
        "RGBA, opaque": Kind(".png", encoded(_transparent(alpha=255))),
        "grey with alpha": Kind(".png", encoded(_transparent("LA")), "transparent"),
        "colour key": Kind(".png", encoded(_drawn(paper=(1, 2, 3)), transparency=(1, 2, 3)), "transparent"),
        "grey key": Kind(".png", encoded(_drawn("L", 0, 90), transparency=0), "transparent"),
        "16 bits": Kind(".png", encoded(_ramp("I;16", 65535)), "over 8 bits"),
        "12 of 16 bits": Kind(".png", encoded(_ramp("I;16", 4095)), "over 8 bits"),
        "16 bits of TIFF": Kind(".tif", encoded(_ramp("I;16", 40000), "TIFF"), "over 8 bits"),
        "32 bits": Kind(".tif", encoded(_ramp("I", 2_000_000), "TIFF"), "over 8 bits"),
        "float": Kind(".tif", encoded(_ramp("F", 1.0), "TIFF"), "over 8 bits"),
        "RGB of 16 bits": Kind(".png", _deep(2, 3), "over 8 bits"),
        "RGB, 12 of 16 bits": Kind(".png", _deep(2, 3, 4095), "over 8 bits"),
        "RGBA of 16 bits": Kind(".png", _deep(6, 4), "over 8 bits"),
        "mask of 0 and 1": Kind(".png", encoded(_drawn("L", 0, 1)), "dark"),
        "dark RGB": Kind(".bmp", encoded(_drawn(paper=(2, 2, 2), ink=(9, 3, 3)), "BMP"), "dark"),
        "dark JPEG": Kind(".jpg", encoded(_drawn(paper=(2, 2, 2), ink=(9, 3, 3)), "JPEG")),
        "black": Kind(".png", encoded(_drawn(paper=0, ink=0))),
        "CMYK": Kind(".jpg", encoded(_drawn().convert("CMYK"), "JPEG")),
        "CMYK of TIFF": Kind(".tif", encoded(_drawn().convert("CMYK"), "TIFF")),
        "LAB": Kind(".tif", encoded(ImageCms.profileToProfile(
            _drawn(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        ), "TIFF")),
        "YCbCr": Kind(".jpg", encoded(_drawn(), "JPEG", quality=90)),
        "progressive": Kind(".jpg", encoded(_drawn(), "JPEG", progressive=True)),
        "with a profile": Kind(".png", encoded(_drawn(), icc_profile=profile)),
        "upright": Kind(".jpg", _turned("JPEG", 1)),
        **{f"turned {way}": Kind(".jpg", _turned("JPEG", way), "turned") for way in range(2, 9)},
        "turned PNG": Kind(".png", _turned("PNG", 6), "turned"),
        "turned WebP": Kind(".webp", _turned("WEBP", 3), "turned"),
        "turned TIFF": Kind(".tif", _turned("TIFF", 6)),
        "frames of GIF": Kind(".gif", encoded(frames[0], "GIF", **further)),
        "frames of WebP": Kind(".webp", encoded(frames[0], "WEBP", **further, lossless=True)),
        "transparent GIF": Kind(".gif", encoded(clear, "GIF", transparency=clear.getpixel((20, 20))), "transparent"),
        "transparent WebP": Kind(".webp", encoded(_transparent(), "WEBP", lossless=True), "transparent"),
        "pages": Kind(".tif", encoded(frames[0], "TIFF", **further)),
        "long": Kind(".png", encoded(_drawn().resize((840, 28)))),
    }  # fmt: skip


KINDS = _kinds()


def write(folder: Path) -> dict[str, str]:
    """Write a file of each kind to a folder; its name there by that of the kind."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: f"{name.replace(' ', '_').replace(',', '')}{kind.ending}" for name, kind in KINDS.items()}
    for name, file in names.items():
        (folder / file).write_bytes(KINDS[name].data)
    return names
