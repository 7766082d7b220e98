"""What files say of their colours and of the shape of their pixels is heeded, and said where it cannot be."""

import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageCms, ImageDraw
from support.row_files import encoded, png_chunk
from support.tables import each_case

from virc.reasoning.images import from_pillow, image_size, open_file, stored
from virc.reasoning.pixels import appearance
from virc.solving.image_source import looked_at, losses
from virc.solving.memory_images import file_of_memory

SIZE = (40, 20)
PRO_PHOTO = (0.79767, 0.28804, 0.0, 0.13519, 0.71188, 0.0, 0.03135, 0.00009, 0.82491)
ORANGE = (192, 127, 44)  # of ProPhoto: (255, 128, 0) of sRGB
HEAD = 33  # bytes of a PNG in front of the chunks behind its header


def make_profile(primaries: str = "ProPhoto", gamma: float = 1 / 1.8) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(appearance._COLORANTS, "ProPhoto", PRO_PHOTO)
        return appearance._matrix_profile(primaries, gamma)


def png_with(chunks: bytes, colour: tuple[int, int, int] = (255, 128, 0)) -> bytes:
    data = encoded(Image.new("RGB", SIZE, colour), "PNG")
    return data[:HEAD] + chunks + data[HEAD:]


def exif_of_adobe_rgb() -> Image.Exif:
    made = Image.Exif()
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03", 2: b"0100"}
    return made


def with_profile(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    image = Image.new("RGB", SIZE, ORANGE)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    return encoded(image, kind, icc_profile=make_profile(), **options)


COLOURS: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "PNG": (with_profile("PNG"), (255, 128, 0)),
    "JPEG": (with_profile("JPEG", quality=100, subsampling=0), (255, 128, 0)),
    "TIFF": (with_profile("TIFF"), (255, 128, 0)),
    "WebP": (with_profile("WEBP", lossless=True), (255, 128, 0)),
    "AVIF": (with_profile("AVIF", quality=100, subsampling="4:4:4"), (255, 128, 0)),
    "PNG with a palette": (with_profile("PNG", "P"), (255, 128, 0)),
    "PNG with alpha": (with_profile("PNG", "RGBA"), (255, 128, 0)),
    "MPO": (with_profile("MPO", quality=100, subsampling=0), (255, 128, 0)),
    "cICP of Display P3": (png_with(png_chunk(b"cICP", bytes((12, 13, 0, 1)))), (255, 119, 0)),
    "gAMA of 1": (png_with(png_chunk(b"gAMA", struct.pack(">I", 100_000))), (255, 188, 0)),
    "gAMA of 1 beside sRGB": (
        png_with(png_chunk(b"gAMA", struct.pack(">I", 100_000)) + png_chunk(b"sRGB", b"\0")), (255, 128, 0)),
    "Adobe RGB by EXIF": (
        encoded(Image.new("RGB", SIZE, (100, 200, 50)), "JPEG", quality=100, subsampling=0,
                  exif=exif_of_adobe_rgb()), (0, 201, 12)),
    "grey with a curve": (
        encoded(Image.new("RGB", SIZE, (128,) * 3), "PNG", icc_profile=make_profile("sRGB", 1.0)), (188,) * 3),
    "sRGB": (encoded(Image.new("RGB", SIZE, ORANGE), "PNG",
                       icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), ORANGE),
    "no profile": (encoded(Image.new("RGB", SIZE, ORANGE), "PNG", icc_profile=b"nothing"), ORANGE),
}  # fmt: skip


def is_near(colour: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(left - right) <= 12 for left, right in zip(colour, wanted, strict=True))


@each_case(("name", "data", "colour"), [(name, *each) for name, each in COLOURS.items()])
def test_colours_become_those_of_srgb(name: str, data: bytes, colour: tuple[int, int, int]) -> None:
    opened = open_file(data, name)
    assert is_near(opened.pixels.getpixel((9, 9)), colour), opened.pixels.getpixel((9, 9))
    with Image.open(io.BytesIO(data)) as image:
        if name not in ("cICP of Display P3",):  # of which Pillow says nothing
            assert is_near(from_pillow(image).pixels.getpixel((9, 9)), colour)
            again = open_file(file_of_memory(image)[0], "an image of Pillow")
            assert is_near(again.pixels.getpixel((9, 9)), colour)
    is_same = name in ("sRGB", "no profile", "gAMA of 1 beside sRGB")
    assert (opened.sendable is None) != is_same
    assert (stored(data).differs == "") == is_same
    assert (opened.rendering.notes == ("profile",)) == (name == "no profile")


def make_tiff(bits: int, kind: int, photometric: int, order: str, density: tuple[int, int] = (1, 1)) -> bytes:
    """A TIFF whose left half holds 0 and whose right half the largest number."""
    width, height = SIZE
    most = 1.0 if kind == 3 else 2 ** (bits - (kind == 2 or bits == 32)) - 1
    numbers = [most if x >= width // 2 else 0 for x in range(width)]
    if bits < 8 or bits == 12:
        line = sum(int(number) << (bits * (width - 1 - at)) for at, number in enumerate(numbers))
        row = line.to_bytes(bits * width // 8)
    else:
        letter = {1: {8: "B", 16: "H", 32: "I"}, 2: {8: "b", 16: "h", 32: "i"}, 3: {32: "f"}}[kind][bits]
        row = struct.pack(f"{order}{width}{letter}", *numbers)
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, len(row) * height), (282, 5, 0), (283, 5, 0), (339, 3, kind)]
    start = 8 + 2 + 12 * len(tags) + 4
    places = {282: start, 283: start + 8, 273: start + 16}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, type, 1)
        + struct.pack(f"{order}{'HH' if type == 3 else 'I'}", places.get(tag, value), *([0] * (type == 3)))
        for tag, type, value in tags
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    ratios = struct.pack(f"{order}IIII", density[0], 1, density[1], 1)
    return head + entries + bytes(4) + ratios + row * height


DEPTHS = [(1, 1), (2, 1), (4, 1), (8, 1), (12, 1), (16, 1), (16, 2), (32, 1), (32, 2), (32, 3)]


@each_case(("bits", "kind", "photometric", "order"), [
    (bits, kind, photometric, order) for bits, kind in DEPTHS for photometric in (0, 1) for order in "<>"
    if not (order == ">" and (bits, kind) in ((12, 1), (32, 1)))  # which Pillow does not read
])  # fmt: skip
def test_white_is_zero_in_all_depths(bits: int, kind: int, photometric: int, order: str) -> None:
    data = make_tiff(bits, kind, photometric, order)
    wanted = (0, 255) if photometric else (255, 0)
    loaded = Image.open(io.BytesIO(data))
    loaded.load()
    files = data, *(file_of_memory(image)[0] for image in (Image.open(io.BytesIO(data)), loaded))
    for opened in (open_file(file, "it") for file in files):
        pixels = opened.pixels.convert("L")
        black, white = sorted((5, 35), key=lambda at: wanted[at > 5])
        assert pixels.getpixel((black, 5)) in (0, 128)  # with a sign, numbers reach half of the range
        assert pixels.getpixel((white, 5)) in (127, 255)
    if bits == 16 and kind == 1:
        opened = open_file(data, "it")
        assert opened.rendering.range == ((0, 65535) if photometric else (65535, 0))


def drawn() -> Image.Image:
    image = Image.new("RGB", SIZE, "white")
    ImageDraw.Draw(image).rectangle((20, 0, 40, 20), fill="black")
    return image


def jfif(x: int, y: int, unit: int) -> bytes:
    data = encoded(drawn(), "JPEG")
    return data[:13] + struct.pack(">BHH", unit, x, y) + data[18:]


def gif(aspect: int) -> bytes:
    data = bytearray(encoded(drawn(), "GIF"))
    data[12] = aspect
    return bytes(data)


def turned(kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(drawn(), kind, **options, exif=exif)


SHAPES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "fax": (make_tiff(1, 1, 0, "<", (204, 98)), (40, 42)),
    "fine fax": (make_tiff(1, 1, 0, "<", (204, 391)), (77, 20)),
    "TIFF of a scanner": (make_tiff(8, 1, 1, ">", (300, 300)), (40, 20)),
    "JFIF, a ratio": (jfif(2, 1, 0), (40, 40)), "JFIF, dots an inch": (jfif(100, 200, 1), (80, 20)),
    "JFIF, square": (jfif(72, 72, 1), (40, 20)), "JFIF, no ratio at all": (jfif(1, 900, 0), (40, 20)),
    "PNG of a ratio": (png_with(png_chunk(b"pHYs", struct.pack(">IIB", 1, 2, 0))), (80, 20)),
    "PNG in metres": (encoded(drawn(), "PNG", dpi=(200, 100)), (40, 40)),
    "PNG, rounded": (encoded(drawn(), "PNG", dpi=(96, 95.9)), (40, 20)),
    "BMP": (encoded(drawn(), "BMP", dpi=(100, 200)), (80, 20)),
    "GIF": (gif(113), (80, 20)), "GIF, square": (gif(49), (40, 20)),
    "JPEG that is turned": (turned("JPEG", dpi=(200, 100)), (40, 40)),
    "PNG that is turned": (turned("PNG", dpi=(100, 200)), (20, 80)),
    "TIFF that is turned": (turned("TIFF", dpi=(100, 200)), (20, 80)),
}  # fmt: skip


@each_case(("name", "data", "size"), [(name, *each) for name, each in SHAPES.items()])
def test_pixels_become_square(name: str, data: bytes, size: tuple[int, int]) -> None:
    opened = open_file(data, name)
    assert opened.size == image_size(data, name) == stored(data).size == size
    is_changed = size not in (SIZE, SIZE[::-1])
    assert (opened.rendering.notes == ("shape",)) == is_changed
    with Image.open(io.BytesIO(data)) as image:
        if image.format != "GIF":  # of which Pillow does not say it
            again = open_file(file_of_memory(image)[0], name)
            assert (again.size, again.rendering.notes) == (size, opened.rendering.notes)
    with Image.open(io.BytesIO(data)) as image:
        if image.format != "GIF":
            again = from_pillow(image)
            assert (again.size, again.rendering.notes) == (size, opened.rendering.notes)
    sentences = losses([looked_at((data, name), name, opened)], [name])
    assert any("square" in each for each in sentences) == is_changed


def hidden(mode: str, kind: str, **options: Any) -> bytes:
    image = drawn().convert("RGBA")
    image.putalpha(0)
    return encoded(image.convert(mode), kind, **options)


def bmp_with_masks() -> bytes:
    """A BMP of 32 bits with masks of red, green, blue and alpha (BITMAPV4HEADER), whose alpha is 0."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    body = b"".join((b"\xff\xff\xff\0" if x < 20 else bytes(4)) for y in range(SIZE[1]) for x in range(SIZE[0]))
    head = struct.pack("<IiiHHIIiiII", 108, *SIZE, 1, 32, 3, len(body), 0, 0, 0, 0) + masks + bytes(52)
    return struct.pack("<2sIII", b"BM", 14 + len(head) + len(body), 0, 14 + len(head)) + head + body


HIDDEN = {
    "BMP": bmp_with_masks(), "PNG": hidden("RGBA", "PNG"), "grey PNG": hidden("LA", "PNG"),
    "TIFF": hidden("RGBA", "TIFF"), "WebP": hidden("RGBA", "WEBP", lossless=True, exact=True),
    "AVIF": hidden("RGBA", "AVIF", quality=100),
    "palette": encoded(drawn().quantize(4), "PNG", transparency=bytes(4)),
}  # fmt: skip


@each_case("name", HIDDEN)
def test_alpha_that_hides_everything_is_ignored_and_said(name: str) -> None:
    opened = open_file(HIDDEN[name], name)
    left, right = (opened.pixels.convert("L").getpixel((at, 9)) for at in (5, 35))
    assert left > 250  # type: ignore[operator]
    assert right < 5  # type: ignore[operator]
    assert opened.rendering.notes == ("alpha",)


@each_case("image", [Image.new("RGBA", SIZE), Image.new("RGBA", SIZE, (200, 10, 10, 0)), Image.new("LA", SIZE, (9, 0))])
def test_a_transparent_picture_of_one_colour_is_white_and_said(image: Image.Image) -> None:
    data = encoded(image, "PNG")
    opened = open_file(data, "it.png")
    assert opened.pixels.getextrema() == ((255, 255),) * 3
    sentence = "it.png is transparent everywhere and has a single colour: it is shown as white"
    assert losses([looked_at((data, "it.png"), "it.png", opened)], ["it.png"]) == [sentence]


HDR: dict[str, Callable[[], bytes]] = {
    "PNG, PQ": lambda: png_with(png_chunk(b"cICP", bytes((9, 16, 0, 1)))),
    "PNG, HLG": lambda: png_with(png_chunk(b"cICP", bytes((9, 18, 0, 1)))),
    "JPEG with a gain map": lambda: encoded(drawn(), "JPEG", xmp=b'<x hdrgm:Version="1.0"/>'),
    "JPEG with a gain map of ISO": lambda: encoded(drawn(), "JPEG", xmp=b"urn:iso:std:iso:ts:21496:-1"),
    "JPEG of Apple": lambda: encoded(drawn(), "JPEG", xmp=b"<HDRGainMap:HDRGainMapVersion/>"),
    "AVIF, PQ": lambda: encoded(drawn(), "AVIF").replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x09\0\x10"),
}


@each_case("name", HDR)
def test_hdr_is_said(name: str) -> None:
    assert open_file(HDR[name](), name).rendering.notes == ("hdr",)
