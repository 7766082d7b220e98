"""A user's own file, sent as it is: the same pixels to another decoder, and nothing beside them."""

import io
import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin
from support.row_files import encoded, png_chunk
from support.tables import each_case

from virc.reasoning.encoded import without_metadata
from virc.reasoning.images import open_file, show
from virc.reasoning.resize import QWEN2

SECRET = b"48.8584 N 2.2945 E"
SIZE = (84, 56)
IMAGE = Image.merge("RGB", [Image.radial_gradient("L").resize(SIZE), *[Image.linear_gradient("L").resize(SIZE)] * 2])


def file(image: Image.Image = IMAGE, kind: str = "JPEG", **options: Any) -> bytes:
    return encoded(image, kind, **options)


def exif(orientation: int = 1) -> Image.Exif:
    """Place, words and a thumbnail, as a camera writes them."""
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.ImageDescription] = SECRET.decode()
    made.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET.decode()
    return made


def texts() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("Place", SECRET.decode())
    made.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return made


def segment(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data


def behind(data: bytes, more: bytes) -> bytes:
    """Something more behind the start: a JPEG's first marker, or a PNG's header."""
    at = 2 if data.startswith(b"\xff\xd8") else 33
    return data[:at] + more + data[at:]


def interlaced(image: Image.Image) -> bytes:
    """A PNG in RGB in seven passes (Adam7), which Pillow does not write."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [
        [image.getpixel((column, row)) for column in range(x, image.width, across)]
        for x, y, across, down in passes
        for row in range(y, image.height, down)
    ]
    filtered = b"".join(b"\0" + bytes(itertools.chain(*row)) for row in rows if row)  # type: ignore[arg-type]
    header = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(filtered)), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def repacked(image: Image.Image, change: Callable[[bytes], list[bytes]]) -> bytes:
    """The image as PNG, with other data chunks in place of its own."""
    data = file(image, "PNG")
    start = data.index(b"IDAT") - 4
    length = int.from_bytes(data[start : start + 4])
    own = data[start + 8 : start + 8 + length]
    return data[:start] + b"".join(png_chunk(b"IDAT", body) for body in change(own)) + data[start + 12 + length :]


def in_rgb(mark: bytes) -> bytes:
    """A JPEG in RGB whose components are numbered, so that nothing but the mark of Adobe says it."""
    head, start, pixels = file(keep_rgb=True).partition(b"\xff\xda\x00\x0c\x03R\0G\0B\0")
    assert start
    for name, number in zip(b"RGB", (1, 2, 3), strict=True):
        head = head.replace(bytes((name, 0x11, 0)), bytes((number, 0x11, 0)))
    return behind(head, mark) + b"\xff\xda\x00\x0c\x03\x01\0\x02\0\x03\0" + pixels


ADOBE = b"Adobe\0\x64\0\0\0\0"
MARK = segment(0xEE, ADOBE + b"\0")  # of RGB, as Pillow writes it
GAMMA = png_chunk(b"gAMA", struct.pack(">I", 45_455))
ALL = {"exif": exif(), "comment": SECRET, "icc_profile": SECRET, "xmp": SECRET}
GREY, PALETTE = IMAGE.convert("L"), IMAGE.quantize(16)
KEPT: dict[str, bytes] = {
    "JPEG": file(**ALL), "a progressive JPEG": file(progressive=True, **ALL),
    "a JPEG in RGB by its mark alone": in_rgb(segment(0xFE, SECRET)),
    "a JPEG with more in its mark": behind(file(), segment(0xEE, ADOBE + b"\1" + SECRET)),
    "a JPEG in RGB by a mark with more": in_rgb(b"").replace(MARK, segment(0xEE, ADOBE + b"\0" + SECRET)),
    "a JPEG in RGB with half a head": file(keep_rgb=True).replace(MARK, segment(0xE0, b"JFIF\0\1\1")),
    "a JPEG with more in its head": file()[:2] + segment(0xE0, b"JFIF\0\1\2\1\0H\0H\0\0" + SECRET) + file()[20:],
    "a JPEG with a thumbnail": behind(file(), segment(0xE0, b"JFXX\0\x10" + file() + SECRET)),
    "a JPEG of several pictures": file(kind="MPO", save_all=True, append_images=[GREY], comment=SECRET),
    "a JPEG with more behind it": file() + file() + SECRET,
    "PNG": file(kind="PNG", pnginfo=texts(), exif=exif(), icc_profile=SECRET, dpi=(72, 72)),
    "a PNG with a palette": file(PALETTE, "PNG", pnginfo=texts()),
    "a PNG with gamma": behind(file(kind="PNG"), GAMMA + png_chunk(b"prIv", SECRET)),
    "a PNG with more behind it": file(kind="PNG") + SECRET, "a PNG with interlaced pixels": interlaced(IMAGE) + SECRET,
    "a PNG in many pieces": repacked(IMAGE, lambda own: [own[at : at + 7] for at in range(0, len(own), 7)]) + SECRET,
}  # fmt: skip


@each_case("name", KEPT)
def test_a_file_is_sent_as_it_is_without_metadata(name: str) -> None:
    opened = open_file(KEPT[name], name)
    shown = show(opened, QWEN2)
    assert shown.file is opened.sendable
    assert (shown.encodings, shown.size) == (0, SIZE)
    sent = shown.file.data
    assert SECRET not in sent
    assert 0 < len(sent) < len(KEPT[name])
    with Image.open(io.BytesIO(sent)) as decoded, Image.open(io.BytesIO(KEPT[name])) as before:
        assert decoded.format == shown.file.media.upper()
        assert decoded.convert("RGB").tobytes() == before.convert("RGB").tobytes() == shown.pixels.tobytes()
        assert not decoded.getexif()
        assert not decoded.info.keys() - {"jfif", "jfif_version", "jfif_unit", "jfif_density"} - {
            "adobe", "adobe_transform", "progressive", "progression", "interlace",
        }  # fmt: skip
    assert without_metadata(sent, SIZE) == shown.file


ANEW: dict[str, bytes] = {
    "a turned JPEG": file(**{**ALL, "exif": exif(6)}), "a resized JPEG": file(IMAGE.resize((100, 100)), **ALL),
    "a resized PNG": file(IMAGE.resize((100, 100)), "PNG", pnginfo=texts(), exif=exif(), icc_profile=SECRET),
    "a JPEG in CMYK": file(IMAGE.convert("CMYK")),
    "a JPEG with an unknown segment": behind(file(), segment(0xDC, SECRET)),
    "a PNG with transparency": file(IMAGE.convert("RGBA"), "PNG"),
    "an animated PNG": file(kind="PNG", save_all=True, append_images=[GREY.convert("RGB")]),
    "a PNG of 16 bits": file(GREY.convert("I;16"), "PNG"),
    "a PNG that is hardly compressed": file(kind="PNG", compress_level=0), "GIF": file(PALETTE, "GIF"),
    "a PNG with a chunk behind its pixels": repacked(IMAGE, lambda own: [own, SECRET]),
    "a PNG with bytes behind its pixels": repacked(IMAGE, lambda own: [own + SECRET]),
    "a PNG with a row too many": repacked(IMAGE, lambda own: [zlib.compress(zlib.decompress(own) + bytes(253))]),
}  # fmt: skip


@each_case("name", ANEW)
def test_what_is_not_plain_is_encoded_anew(name: str) -> None:
    shown = show(open_file(ANEW[name], name), QWEN2)
    data = shown.file.data
    assert shown.encodings == 1
    assert SECRET not in data
    with Image.open(io.BytesIO(data)) as decoded:
        assert decoded.convert("RGB").tobytes() == shown.pixels.tobytes()
        assert (decoded.format == "JPEG") == ("JPEG" in name)


def test_data_of_more_than_the_pixels_is_not_inflated() -> None:
    image = IMAGE.resize((400, 400))
    bomb = repacked(image, lambda own: [zlib.compress(bytes(2**25), 9)])
    tracemalloc.start()
    try:
        assert without_metadata(bomb, image.size) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


SEEDS = [KEPT["JPEG"], KEPT["a progressive JPEG"], KEPT["PNG"], KEPT["a PNG with a palette"]]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6), st.floats(0, 1))
def test_a_damaged_file_is_kept_whole_or_not_at_all(seed: bytes, hits: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(seed)
    for place, byte in hits:
        data[int(place * (len(data) - 1))] = byte
    data = data[: int(cut * len(data)) + 1]
    found = without_metadata(bytes(data), SIZE)
    if found is not None:
        assert len(found.data) <= len(data) + 20
        assert without_metadata(found.data, SIZE) == found
        assert found.data.endswith(b"\xff\xd9" if found.media == "jpeg" else png_chunk(b"IEND", b""))


def test_scans_without_end_are_not_kept() -> None:
    data = KEPT["a progressive JPEG"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert without_metadata(data[:-2] + scan * 9 + b"\xff\xd9", SIZE)
    assert without_metadata(data[:-2] + scan * 70 + b"\xff\xd9", SIZE) is None
