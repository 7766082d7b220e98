"""Pictures that a Python caller has in memory."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms, ImageColor
from support.solving import open_pictures

from virc.core.errors import DataError, UsageError
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning.calls import Call
from virc.reasoning.history import applied, show_input
from virc.reasoning.images import Shown, from_pillow, open_file
from virc.reasoning.resize import Grid
from virc.solving import image_source
from virc.solving.image_source import looked_at, losses, page_file
from virc.solving.memory_images import is_in_memory

OURS = chat_protocol.of_weights(Weights("m", Path()), "default").protocol
RED, WHITE = (200, 10, 20), (255, 255, 255)


def _saved(image: Image.Image, kind: str = "PNG", **words: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **words)
    return file


PLAIN = Image.new("RGB", (40, 30), RED)
PNG = _saved(PLAIN).getvalue()
RGB = np.full((30, 40, 3), RED, np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        _saved(PLAIN),  # as it was written: it stands at its end
        PLAIN,
        Image.open(io.BytesIO(PNG)),
        PLAIN.convert("RGBA"),
        PLAIN.quantize(4),
        RGB,
        RGB[:, ::-1][::-1],
        np.asfortranarray(RGB),
        np.dstack([RGB, np.full((30, 40), 255, np.uint8)]),
    ],
    ids=lambda picture: f"{type(picture).__name__}",
)
def test_pictures_in_memory_have_the_pixels_of_the_file(picture: Any) -> None:
    (opened,) = open_pictures([picture])
    assert opened.pixels.mode == "RGB"
    assert opened.size == (40, 30)
    assert opened.pixels.getpixel((3, 4)) == RED


def test_pictures_are_one_or_several_and_are_named_by_their_number() -> None:
    for one in (PNG, bytearray(PNG), memoryview(PNG), "a.png", PLAIN):
        assert image_source.as_list(one) == [one]
    assert image_source.as_list((PNG, "b.png")) == [PNG, "b.png"]
    assert is_in_memory(Tensor())
    given: Any = Tensor()
    with pytest.raises(UsageError, match=r"^picture 2 is of type .*Tensor") as caught:
        open_pictures([PNG, given])
    assert "to_pil_image(tensor) does" in (caught.value.hint or "")
    several: Any = {"frames": 2, "shown": 1, "background": None, "missing": 0, "range": None}
    said = "a [2J.gif has 2 frames, and the second is not looked at"
    assert losses([several], ["a\x1b[2J.gif"]) == [said]


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


JPEGS: dict[str, tuple[str, dict[str, Any]]] = {
    "RGB": ("RGB", {}), "grey": ("L", {}), "CMYK": ("CMYK", {}), "turned": ("RGB", {"exif": _turned()}),
    "progressive": ("RGB", {"progressive": True}), "upright": ("RGB", {"comment": b"x"}),
}  # fmt: skip


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("size", [(336, 252), (341, 257)])
@pytest.mark.parametrize("through", ["file", "session"])
def test_a_jpeg_is_shown_alike_as_a_file_and_as_a_pil_image(
    name: str, size: tuple[int, int], through: str, tmp_path: Path
) -> None:
    mode, words = JPEGS[name]
    Image.effect_noise(size, 60).convert("RGB").convert(mode).save(tmp_path / "a.jpg", **words)
    loaded = Image.open(io.BytesIO((tmp_path / "a.jpg").read_bytes()))
    loaded.load()
    given: list[Any] = [tmp_path / "a.jpg", Image.open(tmp_path / "a.jpg"), loaded]
    ours, *others = (
        open_pictures(given) if through == "file" else [*open_pictures(given[:1]), *map(from_pillow, given[1:])]
    )
    wanted = show_input(ours, OURS, Grid(max_pixels=400 * 400))
    for each in others:
        shown = show_input(each, OURS, Grid(max_pixels=400 * 400))
        assert ImageChops.difference(*(_seen(one) for one in (shown, wanted))).getbbox() is None
        assert shown.is_jpeg


def _seen(shown: Shown) -> Image.Image:
    """What a model gets."""
    return Image.open(io.BytesIO(shown.file.data)).convert("RGB")


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1)])
def test_a_grey_array_is_a_grey_picture(shape: tuple[int, ...]) -> None:
    (opened,) = open_pictures([np.full(shape, 70, np.uint8)])
    assert (opened.size, opened.pixels.getpixel((0, 0))) == ((40, 30), (70, 70, 70))


def test_images_are_turned_upright_with_transparent_parts_on_white_and_all_their_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = Image.open(_saved(PLAIN, "JPEG", exif=exif))
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    palette = Image.open(_saved(clear.quantize(4), "PNG"))
    deep = Image.fromarray(np.full((30, 40), 65535, np.uint16))
    cmyk = Image.new("CMYK", (40, 30), (0, 0, 0, 0))
    opened = open_pictures([turned, clear, palette, deep, cmyk, np.zeros((30, 40, 4), np.uint8)])
    assert [each.size for each in opened] == [(30, 40), *[(40, 30)] * 5]
    assert [each.pixels.getpixel((5, 5)) for each in opened[1:]] == [WHITE] * 5


GREY = Image.linear_gradient("L").resize((60, 40))
COLOURS = Image.merge("RGB", (GREY, GREY.rotate(180), GREY.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
WIDE = np.asarray(GREY).astype(np.uint16)
CLEAR = GREY.rotate(90).resize((60, 40))
PALETTE = COLOURS.quantize(16)


def _planar_tiff() -> io.BytesIO:
    """Red, green and blue each in a plane of its own (TIFF 6.0, PlanarConfiguration 2)."""
    entries = [(256, 60), (257, 40), (259, 1), (262, 2), (277, 3), (284, 2)]
    planes, start = [each.tobytes() for each in COLOURS.split()], 8 + 2 + 12 * 9 + 4
    arrays = [(258, 3, [8] * 3), (273, 4, []), (279, 4, [2400] * 3)]
    at, blob = start, b""
    directory: list[tuple[int, bytes]] = [(tag, struct.pack("<HHII", tag, 3, 1, value)) for tag, value in entries]
    data_at = start + 6 + 12 + 12
    for tag, kind, values in arrays:
        numbers = values or [data_at + 2400 * plane for plane in range(3)]
        packed = struct.pack("<3H" if kind == 3 else "<3I", *numbers)
        directory.append((tag, struct.pack("<HHII", tag, kind, 3, at + len(blob))))
        blob += packed
    body = struct.pack("<H", len(directory)) + b"".join(entry for _, entry in sorted(directory)) + bytes(4)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8) + body + blob + b"".join(planes))


def _turned(kind: str, orientation: int) -> io.BytesIO:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved(COLOURS, kind, exif=exif)


LAB = ImageCms.applyTransform(
    COLOURS, ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
)
FILES = {
    "1 PNG": _saved(GREY.convert("1")),
    "1 fax": _saved(GREY.convert("1"), "TIFF", compression="group4"),
    "1 BMP": _saved(GREY.convert("1"), "BMP"),
    "1 with a transparent colour": _saved(GREY.convert("1"), transparency=0),
    "P with a transparent colour": _saved(PALETTE, transparency=3),
    "P with an alpha of each colour": _saved(PALETTE, transparency=bytes([0, 128, *[255] * 14])),
    "GIF with a transparent colour": _saved(PALETTE, "GIF", transparency=3),
    "L with a transparent grey": _saved(GREY, transparency=100),
    "RGB with a transparent colour": _saved(COLOURS, transparency=COLOURS.getpixel((5, 5))),
    "LA": _saved(Image.merge("LA", (GREY, CLEAR))),
    "RGBA WebP": _saved(Image.merge("RGBA", (*COLOURS.split(), CLEAR)), "WEBP", lossless=True),
    "I;16 PNG": _saved(Image.fromarray(WIDE * 257)),
    "I;16 of 12 bits": _saved(Image.fromarray(WIDE * 16), "TIFF"),
    "I;16B": _saved(Image.frombytes("I;16B", GREY.size, (WIDE * 257).astype(">u2").tobytes()), "TIFF"),
    "I": _saved(Image.fromarray(WIDE.astype(np.int32) * 70_000), "TIFF"),
    "F": _saved(Image.fromarray(WIDE.astype(np.float32) / 255), "TIFF"),
    "CMYK JPEG, inverted by Adobe": _saved(COLOURS.convert("CMYK"), "JPEG"),
    "CMYK TIFF": _saved(COLOURS.convert("CMYK"), "TIFF"),
    "YCbCr": _saved(COLOURS.convert("YCbCr"), "TIFF"),
    "LAB": _saved(LAB, "TIFF"),
    "planar TIFF": _planar_tiff(),
    **{f"{kind} of {number} frames": _saved(COLOURS, kind, save_all=True, append_images=[LAB.convert("RGB")] * number)
       for kind, number in (("PNG", 2), ("GIF", 3), ("WEBP", 2), ("TIFF", 2))},
    **{f"{kind} turned by {turn}": _turned(kind, turn) for kind in ("PNG", "JPEG", "TIFF") for turn in range(2, 9)},
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_picture_looks_the_same_through_every_door(name: str) -> None:
    data = FILES[name].getvalue()
    expected = open_file(data, "it").pixels
    loaded = Image.open(io.BytesIO(data))
    loaded.load()
    doors = [*open_pictures([data, io.BytesIO(data), Image.open(io.BytesIO(data)), loaded, loaded.copy()])]
    shown = show_input(Image.open(io.BytesIO(data)), OURS)
    assert {(each.size, each.pixels.tobytes()) for each in doors} == {(expected.size, expected.tobytes())}
    assert shown.pixels.tobytes() == show_input(open_file(data, "it"), OURS).pixels.tobytes()
    assert len(set(expected.convert("L").tobytes())) > 1 or name == "1 with a transparent colour"


ARRAYS = {
    "bool": (np.asarray(GREY) > 128, GREY.point(lambda value: 255 * (value > 128))),
    "bool of one channel": ((np.asarray(GREY) > 128)[..., None], GREY.point(lambda value: 255 * (value > 128))),
    "float64, 0 to 1": (np.asarray(COLOURS) / 255, COLOURS),
    "float16": ((np.asarray(GREY) / 255).astype(np.float16), GREY),
    "float32, 0 to 255": (np.asarray(COLOURS).astype(np.float32), COLOURS),
    "white floats": (np.ones((40, 60)), Image.new("L", (60, 40), 255)),
    "uint16": (WIDE * 257, GREY),
    "uint16 of other bytes": ((WIDE * 257).astype(">u2"), GREY),
    "uint16 of colours": (np.asarray(COLOURS).astype(np.uint16) * 257, COLOURS),
    "int64": (WIDE.astype(np.int64), GREY),
    "int32, 0 and 1": ((WIDE > 128).astype(np.int32), GREY.point(lambda value: 255 * (value > 128))),
    "turned": (np.asarray(COLOURS)[::-1] / 255, COLOURS.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_other_numbers_are_shown_at_their_range(name: str) -> None:
    array, expected = ARRAYS[name]
    (opened,) = open_pictures([array])
    assert opened.size == (60, 40)
    assert ImageChops.difference(opened.pixels, expected.convert("RGB")).getextrema() <= ((0, 1),) * 3


def _png16(*bands: np.ndarray) -> bytes:
    """A PNG of 16 bits, which Pillow does not write in colour."""
    rows = np.dstack(bands).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, (0, 4, 2, 6)[len(bands) - 1], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _tiff16(order: str, pages: int = 1) -> bytes:
    """A TIFF of 16-bit colours, `COLOURS` in 12 bits on its last page: one of greys three times as wide, renamed."""
    pixels = (np.asarray(COLOURS).astype(np.uint16) * 16).astype(f"{order}u2").tobytes()
    last = Image.frombytes("I;16" if order == "<" else "I;16B", (180, 40), pixels)
    first, *others = [*[Image.new(last.mode, last.size)] * (pages - 1), last]
    data = _saved(first, "TIFF", save_all=True, append_images=others, tiffinfo={277: 1}).getvalue()
    for tag, kind, grey, colour in ((256, 4, 180, 60), (262, 3, 1, 2), (277, 3, 1, 3)):
        entry = [struct.pack(f"{order}HHI{'I' if kind == 4 else 'H2x'}", tag, kind, 1, each) for each in (grey, colour)]
        assert data.count(entry[0]) == pages
        data = data.replace(*entry)
    return data


TWELVE = [np.asarray(band).astype(np.uint16) * 16 for band in COLOURS.split()]
FULL = np.full((40, 60), 65535, np.uint16)
HALF = np.where(np.arange(60) < 30, 4095, 0)[None].repeat(40, 0)
CUT = COLOURS.copy()
CUT.paste("white", (30, 0, 60, 40))
STRETCHED = COLOURS.point(lambda value: (value - 3) * 255 // 249)
DEAD = [np.where(np.arange(60) + np.arange(40)[:, None] == 0, 65535, band) for band in TWELVE]
WITH_DEAD = COLOURS.copy()
WITH_DEAD.putpixel((0, 0), (255, 255, 255))
DEEP: dict[str, tuple[Any, Image.Image, list[int]]] = {
    "grey of 12 bits": (_png16(TWELVE[0]), COLOURS.getchannel(0), [0, 4095]),
    "RGB of 12 bits": (_png16(*TWELVE), COLOURS, [0, 4095]),
    "RGB of 10 bits": (_png16(*(band // 4 for band in TWELVE)), COLOURS, [0, 1023]),
    "RGB of 14 bits": (_png16(*(band * 4 for band in TWELVE)), COLOURS, [0, 16383]),
    "RGB of 16 bits": (_png16(*(band // 16 * 257 for band in TWELVE)), COLOURS, [0, 65535]),
    "narrow RGB": (_png16(*(band // 16 * 4 + 30000 for band in TWELVE)), STRETCHED, [30012, 31008]),
    "LA of 12 bits": (_png16(TWELVE[0], FULL), COLOURS.getchannel(0), [0, 4095]),
    "RGBA of 12 bits": (_png16(*TWELVE, FULL), COLOURS, [0, 4095]),
    "RGBA of 12 bits, alpha too": (_png16(*TWELVE, HALF), CUT, [0, 4095]),
    "TIFF of RGB, little-endian": (_tiff16("<"), COLOURS, [0, 4095]),
    "TIFF of RGB, big-endian": (_tiff16(">"), COLOURS, [0, 4095]),
    "RGB with a dead pixel": (_png16(*DEAD), WITH_DEAD, [0, 4095]),
    "grey array with a dead pixel": (DEAD[0].astype(np.uint16), WITH_DEAD.getchannel(0), [0, 4095]),
    "array of RGB with a dead pixel": (np.dstack(DEAD), WITH_DEAD, [0, 4095]),
    "array of RGB": (np.dstack(TWELVE), COLOURS, [0, 4095]),
    "array of RGBA": (np.dstack([*TWELVE, FULL]), COLOURS, [0, 4095]),
    "narrow array of floats": (np.dstack(TWELVE) / 408000 + 0.5, STRETCHED, [0.5 + 48 / 408000, 0.5 + 4032 / 408000]),
}


@pytest.mark.parametrize("name", DEEP)
def test_numbers_of_fewer_bits_than_their_place_are_stretched_in_every_mode_and_said(name: str) -> None:
    source, expected, levels = DEEP[name]
    doors = [source]
    if isinstance(source, bytes):
        doors += [io.BytesIO(source), Image.open(io.BytesIO(source))]
    found = open_pictures(doors)
    for each, door in zip(found, doors, strict=True):
        assert ImageChops.difference(each.pixels, expected.convert("RGB")).getextrema() <= ((0, 1),) * 3
        seen = looked_at((b"", "it"), door, each)
        assert seen["range"] == pytest.approx(levels)
        assert bool(losses([seen], ["it"])) == (levels != [0, 65535])
    assert len({each.pixels.tobytes() for each in found}) == 1
    if isinstance(source, bytes):
        image = Image.open(io.BytesIO(source))
        assert from_pillow(image).pixels.tobytes() == found[0].pixels.tobytes()
        assert from_pillow(image).rendering == found[0].rendering


def test_a_page_of_deep_colours_keeps_its_range() -> None:
    source = _tiff16("<", 3)
    (page,) = open_pictures([page_file((source, "it"), 3)[0]])
    assert ImageChops.difference(page.pixels, COLOURS).getextrema() <= ((0, 1),) * 3
    assert page.rendering.range == (0, 4095)


TWO = [COLOURS, LAB.convert("RGB")]


def _with(image: Image.Image, *numbers: float, depth: type = np.float32) -> np.ndarray:
    """An array of an image from 0 to 1, in which some pixels are these, from the upper left corner on."""
    array = np.asarray(image).astype(depth) / 255
    array[0, : len(numbers)] = np.reshape(numbers, (-1, *[1] * (array.ndim - 2)))
    return array


ONE_BAND = np.asarray(COLOURS) / 255
ONE_BAND[0, 0, 1] = np.nan
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("mode", ["La", "LA", "PA", "RGBa", "RGBA", "RGBX"])
def test_a_pil_image_of_any_mode_with_alpha_is_shown(mode: str) -> None:
    whole = Image.merge("RGBA", (*[GREY] * 3, CLEAR))
    via = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
    source = (whole.convert("RGB") if mode in ("RGBX", "PA") else whole).convert(via).convert(mode)
    expected = source.convert(via).convert("RGBA") if mode != "RGBX" else GREY.convert("RGBA")
    (found,) = open_pictures([source])
    (wanted,) = open_pictures([expected])
    for shown in (found, from_pillow(source)):
        assert shown.pixels.tobytes() == wanted.pixels.tobytes()


MASK = GREY.point(lambda value: int(value > 128))
DARK: dict[str, tuple[Any, list[float] | None, bool]] = {
    "mask of 0 and 1": (np.asarray(MASK), [0, 1], True),
    "mask of words": (np.asarray(MASK).astype(np.int32), [0, 1], True),
    "mask of 16 bits": (np.asarray(MASK).astype(np.uint16), [0, 1], True),
    "mask of floats": (np.asarray(MASK).astype(np.float32), [0, 1], False),
    "mask as PNG": (_saved(MASK).getvalue(), [0, 1], True),
    "mask as a PIL image": (MASK, [0, 1], True),
    "labels": (GREY.point(lambda value: value // 32), [0, 7], True),
    "12 bits of a loaded colour PNG": (COLOURS.point(lambda value: value >> 4), [0, 15], True),
    "seventeen shades": (GREY.point(lambda value: value >> 4 if value < 250 else 16), None, False),
    "one dark shade": (Image.new("RGB", (60, 40), (3, 0, 9)), None, False),
    "black": (Image.new("L", (60, 40)), None, False),
    "a palette": (MASK.convert("P"), None, False),
    "transparent": (Image.merge("LA", (MASK, CLEAR)), None, False),
    "a dark photograph": (_saved(MASK, "JPEG").getvalue(), None, False),
}


@pytest.mark.parametrize("name", DARK)
def test_eight_bits_that_would_all_be_black_are_stretched_and_said(name: str) -> None:
    source, levels, is_said = DARK[name]
    (found,) = open_pictures([source])
    seen = looked_at((b"", "it"), source, found)
    assert seen["range"] == levels
    assert bool([each for each in losses([seen], ["it"]) if "as white" in each]) == is_said
    assert (max(most for _, most in found.pixels.getextrema()) == 255) == bool(levels or found.rendering.background)
    sent = _seen(show_input(found, OURS)).resize(found.size)
    assert not levels or max(most for _, most in sent.getextrema()) > 200


UNKNOWN: dict[str, tuple[Any, Image.Image, int]] = {
    "first": (_with(GREY, NAN), GREY, 1),
    "second": (_with(GREY, 0.5, NAN), GREY, 1),
    "infinite": (_with(GREY, INF, -INF, NAN), GREY, 3),
    "of 64 bits": (_with(GREY, INF, depth=np.float64), GREY, 1),
    "of 16 bits": (_with(GREY, NAN, INF, depth=np.float16), GREY, 2),
    "colours": (_with(COLOURS, NAN, INF), COLOURS, 2),
    "one colour": (ONE_BAND, COLOURS, 1),
    "transparent colours": (_with(COLOURS.convert("RGBA"), -INF), COLOURS, 1),
    "TIFF": (_saved(Image.fromarray(_with(GREY, NAN, INF)), "TIFF"), GREY, 2),
    "TIFF, opened": (Image.fromarray(_with(GREY, -INF)), GREY, 1),
    "all of a column": (np.where(np.arange(60) < 30, NAN, np.asarray(GREY) / 255), GREY, 1200),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_pixels_without_a_finite_number_are_background_and_said(name: str) -> None:
    source, expected, count = UNKNOWN[name]
    (found,) = open_pictures([source])
    rest = (30, 0, 60, 40)
    difference = ImageChops.difference(found.pixels.crop(rest), expected.convert("RGB").crop(rest))
    assert difference.getextrema() <= ((0, 1),) * 3
    assert (found.rendering.range, found.rendering.missing) == ((0, 1), count)
    background = found.rendering.background
    assert background in ("white", "black", "gray")
    unknown = (0, 0) if "second" not in name else (1, 0)
    assert found.pixels.getpixel(unknown) == ImageColor.getrgb(background)
    said = losses([looked_at((b"", "it"), source, found)], ["it"])[-1]
    noun = "pixel" if count == 1 else "pixels"
    assert said == f"it has {count} {noun} without a finite number, shown as {background} background"
    plain = looked_at((b"", "it"), PNG, from_pillow(PLAIN))
    fields = [plain, looked_at((b"", "it"), source, found)]
    assert losses(fields, ["a.png", "data:;base64,AA"])[-1] == said.replace("it has", "picture 2 has")


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (30, 40, 4)])
def test_a_picture_without_a_finite_number_is_refused(shape: tuple[int, ...]) -> None:
    for number in (np.nan, np.inf):
        with pytest.raises(DataError, match="it has no finite number"):
            open_pictures([np.full(shape, number)])


PAGES: dict[str, tuple[bytes, int, bool]] = {
    **{f"page {page} of {kind}": (_saved(TWO[0], kind, save_all=True, append_images=TWO[1:]).getvalue(), page, page < 3)
       for kind in ("TIFF", "GIF", "PNG", "WEBP") for page in (1, 2, 3)},
    "of deep colours": (_tiff16("<", 3), 3, True),
    "the only one": (PNG, 1, True),
    "none of the only one": (PNG, 2, False),
}  # fmt: skip


@pytest.mark.parametrize("stands", [0, 1])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_an_image_is_that_of_its_file(name: str, stands: int) -> None:
    data, page, there = PAGES[name]
    image = Image.open(io.BytesIO(data))
    image.seek(min(stands, getattr(image, "n_frames", 1) - 1))
    before = image.tell()
    if there:
        files = page_file((b"", "it"), page, image), page_file((data, "it"), page, data)
        shown, expected = open_pictures([file for file, _ in files])
        assert shown.pixels.tobytes() == expected.pixels.tobytes()
    else:
        with pytest.raises(DataError, match=f"it has no page {page}"):
            page_file((b"", "it"), page, image)
    assert image.tell() == before


def test_frames_are_counted_in_files_and_images() -> None:
    data = FILES["GIF of 3 frames"].getvalue()  # equal frames are one
    image, closed, photo = (Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data)), Image.open(_two_photos()))
    image.seek(1)
    closed.load()
    closed.close()
    for source, expected in ((data, (2, 1)), (image, (2, 2)), (closed, (1, 1)), (photo, (1, 1)), (GREY, (1, 1))):
        seen = looked_at((data, "it"), source, open_file(data, "it"))
        assert (seen["frames"], seen["shown"]) == expected


def test_no_more_frames_of_a_tiff_are_counted_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = _saved(TWO[0], "TIFF", save_all=True, append_images=[*TWO, *TWO]).getvalue()
    for most, counted in ((1000, 5), (5, 5), (3, 3)):
        monkeypatch.setattr(image_source, "_MAX_FRAMES", most)
        assert looked_at((saved, "it"), saved, open_file(saved, "it"))["frames"] == counted


def _two_photos() -> io.BytesIO:
    return _saved(COLOURS, "MPO", save_all=True, append_images=[COLOURS])


def test_a_tool_may_return_an_image_of_any_kind() -> None:
    class Binary:
        NAME = "threshold"

        def apply(self, call: object, source: object) -> Image.Image:
            return GREY.convert("1")

    tool: Any = Binary()
    (made,) = applied(tool, Call("threshold", 0), COLOURS).images
    assert made.convert("RGB").tobytes() == GREY.convert("1").convert("RGB").tobytes()
    stands_in = applied(tool, Call("threshold", 0), Image.new("1", (60, 40))).images[0]
    assert isinstance(stands_in, Image.Image)
    assert (made.mode, stands_in.mode) == ("RGB", "1")


class Tensor:
    """What torch, jax and tensorflow have of numpy's interfaces."""

    def __array__(self) -> object:
        return RGB


@pytest.mark.parametrize(
    ("picture", "names"),
    [
        (np.zeros((3, 30, 40), np.uint8), r"uint8, 3 x 30 x 40: its channels come first \| array.transpose\(1, 2, 0\)"),
        (np.full((30, 40, 3), -0.5), r"float64, 30 x 40 x 3, of numbers that are not from 0 .* \| array.clip\(0, 1\)"),
        (np.where(np.eye(30, 40)[..., None] * np.ones(3) > 0, np.nan, -1), "of numbers that are not from 0"),
        (np.full((30, 40, 4), 70_000), "int64, 30 x 40 x 4, of numbers that are not from 0"),
        (np.zeros((30, 40), complex), r"complex128, 30 x 40, not numbers of H x W"),
        (np.zeros((30, 40), "U1"), "<U1, 30 x 40, not"),
        (np.zeros((2, 30, 40, 3), np.uint8), r"several pictures \| list"),
        (np.zeros((30, 40, 2), np.uint8), "30 x 40 x 2, not"),
        (np.zeros(7, np.uint8), "an array of uint8, 7, not"),
        (np.uint8(3), "one number, not"),
        (Tensor(), r"of type test_memory_images.Tensor, not .*to_pil_image\(tensor\)"),
        (3, "the picture is of type int, not a path"),
        (None, "of type NoneType, not"),
        ([PNG], "of type list, not"),
        (io.StringIO("x"), r'a file of text \| open\(FILE, "rb"\)'),
        (io.BytesIO, "of type type, not"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_refused_with_what_to_write(picture: Any, names: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_pictures([picture])
    assert re.search(names, f"{raised.value.message} | {raised.value.hint}")


def test_damaged_or_impossible_pictures_are_data_errors() -> None:
    closed = io.BytesIO(PNG)
    closed.close()
    for picture in (b"", PNG[:60], Image.open(io.BytesIO(PNG[:60])), np.zeros((0, 4), np.uint8), closed):
        with pytest.raises(DataError, match="picture 2"):
            open_pictures([PNG, picture])
    with pytest.raises(DataError, match="times the other"):
        open_pictures([np.zeros((4, 4000), np.uint8)])


def test_an_open_file_is_read_again_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file:
        assert [each.size for each in open_pictures([file, file])] == [(40, 30)] * 2
