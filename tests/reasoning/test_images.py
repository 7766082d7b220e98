"""Pictures from hostile bytes: upright RGB, or one sentence."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import pytest
from PIL import Image, ImageColor, ImageDraw
from support.picture_kinds import KINDS
from support.row_files import encoded, png_chunk
from support.tables import each_case

from virc.core.errors import DataError
from virc.reasoning.encoded import as_png
from virc.reasoning.images import open_file, open_image, stored
from virc.reasoning.opening.pricing import price
from virc.solving.memory_images import file_of_memory

RED, WHITE = (255, 0, 0), (255, 255, 255)


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG with the header of any size and next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(bytes(400))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def marked(width: int = 30, height: int = 20) -> Image.Image:
    """White, with the upper left corner red."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, 10, 10))
    return image


def preview(more: dict[int, Any]) -> bytes:
    """A TIFF that begins with a reduced picture (NewSubfileType), as those of cameras do."""
    return encoded(marked(32, 32), "TIFF", tiffinfo={254: 1, **more})


TWELVE_BITS = encoded(marked(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")


def refusal(source: bytes | Path, name: str = "it.png") -> DataError:
    with pytest.raises(DataError) as caught:
        open_image(source, name)
    message = caught.value.message
    assert name in message
    assert "\n" not in message
    assert not message.endswith(".")
    return caught.value


BOMBS = {
    "pixels": png(100_000, 100_000), "pixels below Pillow's own limit": png(10_000, 10_001),
    "profile": png(10, 10, png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000)))),
    "text": png(10, 10, png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(50_000_000)))),
    "many texts": png(10, 10, png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(900_000))) * 100),
    "comment": b"P6\n10 10\n#" + bytes(70_000) + b"\n255\n" + bytes(300),
    "blanks": b"P4\n10" + b" " * 70_000 + b"10\n" + bytes(20),
}  # fmt: skip


@each_case("bomb", BOMBS)
def test_bombs_are_refused_before_they_unfold(bomb: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    message = refusal(BOMBS[bomb]).message
    assert ("million" if bomb.startswith("pixels") else "is damaged") in message
    assert bomb not in ("comment", "blanks") or price(BOMBS[bomb], "it") is None
    assert limit == Image.MAX_IMAGE_PIXELS


@each_case(
    ("data", "says", "hints"),
    [
        (b"", "is empty", None), (b"<!doctype html><html><svg></svg>", "is a web page", "PNG"),
        (b"\xef\xbb\xbf<!-- a -->\n<HTML>", "is a web page", "PNG"), (b"<p>", "is not a picture", "PNG"),
        (b"%PDF-1.7\n1 0 obj", "is a PDF", "pdftoppm -r 200 -png 'my file'"),
        (b"<?xml version='1.0'?><svg xmlns=''/>", "is an SVG", "PNG"),
        (encoded(marked(32, 32), "ICO"), "is not a picture", "PNG"),  # a format Pillow reads and we do not
        (encoded(marked(1, 1)), "has 1 x 1 px, too few", None),
        (encoded(marked(201, 1)), "one side over 200 times the other", "cut out"),
        (encoded(Image.new("F", (9, 9), float("inf")), "TIFF"), "it has no finite number", None),
        (preview({330: 8}), "is a camera's raw file, of which 32 x 32 px are a preview", "JPEG"),
        (preview({50706: b"\1\4\0\0"}), "is a camera's raw file", "JPEG"),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS, not the picture", "git lfs pull"),
        (TWELVE_BITS, "a kind that Pillow does not decode", "PNG"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_named(data: bytes, says: str, hints: str | None) -> None:
    error = refusal(data, "my file")
    assert says in error.message
    assert error.hint is None if hints is None else hints in (error.hint or "")


@each_case("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_picture_cut_anywhere_is_one_sentence(kind: str) -> None:
    data = encoded(Image.radial_gradient("L").convert("RGB"), kind)
    assert open_image(data, "whole").size == (256, 256)
    assert open_image(encoded(marked(4, 4), kind), "the smallest").size == (4, 4)
    for size in (1, 3, 16, 40, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        error = refusal(data[:size])
        if size >= 16:
            assert "is damaged or cut short" in error.message


def test_a_reduced_picture_that_is_alone_in_a_tiff_is_shown() -> None:
    assert open_image(preview({}), "scan").size == (32, 32)


def near(pixel: object, colour: tuple[int, int, int], by: int = 4) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - two) <= by for one, two in zip(pixel, colour, strict=True))


def test_transparent_parts_are_white() -> None:
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 10, 20))
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.paste(1, (0, 0, 10, 20))
    grey = Image.new("LA", (20, 20), (0, 0))
    tall = Image.new("RGBA", (20, 600), (255, 0, 0, 0))
    tall.paste((255, 0, 0, 255), (0, 300, 20, 600))
    assert [open_image(encoded(tall), "tall").getpixel((9, y)) for y in (9, 290, 310, 590)] == [WHITE] * 2 + [RED] * 2
    for data in (encoded(clear), encoded(palette, transparency=0), encoded(palette, transparency=b"\0\xff")):
        image = open_image(data, "clear")
        assert (image.getpixel((2, 2)), image.getpixel((15, 5))) == (RED, WHITE)
    assert open_image(encoded(grey), "grey").getpixel((1, 1)) == WHITE


def drawn(*colours: object, mode: str = "RGBA", paper: object = (0, 0, 0, 0)) -> Image.Image:
    """A line of each colour on transparent paper."""
    image = Image.new(mode, (90, 600), paper)  # type: ignore[arg-type]
    for number, colour in enumerate(colours):
        ImageDraw.Draw(image).line((5, 20 + 30 * number, 85, 590 - 30 * number), fill=colour, width=2)  # type: ignore[arg-type]
    return image


CARD = Image.new("RGBA", (90, 60), "white")
PALETTE = Image.new("P", (90, 60))
PALETTE.putpalette([0, 0, 0, 255, 255, 255])
PALETTE.paste(1, (10, 10, 12, 50))
BACKGROUNDS: dict[str, tuple[Image.Image, dict[str, Any], str | None]] = {
    "white lines": (drawn("white"), {}, "black"), "black lines": (drawn("black"), {}, "white"),
    "coloured lines": (drawn("red", "lime", "blue"), {}, "white"), "yellow lines": (drawn("yellow"), {}, "black"),
    "yellow and black lines": (drawn("yellow", "black"), {}, "gray"),
    "white and black lines": (drawn("white", "black"), {}, "gray"),
    "white lines in a palette": (PALETTE, {"transparency": 0}, "black"),
    "white lines beside a transparent grey": (drawn(255, mode="L", paper=9), {"transparency": 9}, "black"),
    "nothing is transparent": (CARD, {}, "white"), "all is transparent": (drawn(), {}, "white"),
    "no alpha": (CARD.convert("RGB"), {}, None),
}  # fmt: skip


@each_case("name", BACKGROUNDS)
def test_transparent_paper_gets_the_colour_that_hides_the_least(name: str) -> None:
    image, options, background = BACKGROUNDS[name]
    found = open_file(encoded(image, **options), "it")
    assert found.rendering.background == background
    if background and "is transparent" not in name:
        assert found.pixels.getpixel((0, 0)) == ImageColor.getrgb(background)
        assert len(set(found.pixels.convert("L").tobytes())) > 1


RANGES: dict[str, tuple[str, list[float], tuple[float, float], list[int]]] = {
    "8 bits": ("I;16", [0, 255], (0, 255), [0, 255]), "12 bits": ("I;16", [0, 2048, 4095], (0, 4095), [0, 128, 255]),
    "16 bits": ("I;16", [0, 30000], (0, 65535), [0, 117]),
    "12 bits of a medical picture, as words": ("I", [-1000, 3000], (-1000, 3000), [0, 255]),
    "few values far up": ("I;16", [30000, 30250, 30500], (30000, 30500), [0, 128, 255]),
    "floats to 1": ("F", [0.25, 0.75], (0, 1), [64, 191]), "small floats": ("F", [0, 1e-3], (0, 1e-3), [0, 255]),
}  # fmt: skip


@each_case("name", RANGES)
def test_numbers_of_many_bits_are_shown_at_the_range_that_they_have(name: str) -> None:
    mode, values, levels, expected = RANGES[name]
    image = Image.new("F" if mode == "F" else "I", (len(values), 20))
    image.putdata(values * 20)
    found = open_file(encoded(image.convert(mode) if mode == "I;16" else image, "TIFF"), "it")
    assert found.rendering.range == pytest.approx(levels)
    assert [found.pixels.getpixel((x, 3)) for x in range(len(values))] == [(level,) * 3 for level in expected]


SAMPLES: dict[str, tuple[int, int, list[int], tuple[float, float], list[int]]] = {
    "32 bits without a sign": (32, 1, [0, 2**31, 2**32 - 1], (0, 2**32 - 1), [0, 128, 255]),
    "16 bits with a sign": (16, 2, [0, 16384, 32767], (0, 32767), [0, 128, 255]),
    "8 bits with a sign": (8, 2, [0, 64, 127], (0, 127), [0, 129, 255]),
    "8 bits with a sign, below 0": (8, 2, [128, 0, 127], (-128, 127), [0, 128, 255]),
}
"""Bits, sample format, the bits as numbers without a sign, the range, and what is shown."""


@each_case("name", SAMPLES)
def test_the_sample_format_of_a_tiff_says_what_its_numbers_are(name: str) -> None:
    bits, sample_format, values, levels, expected = SAMPLES[name]
    data = b"".join(each.to_bytes(bits // 8, "little") for each in values * 20)
    entries = [(256, 3), (257, 20), (258, bits), (259, 1), (262, 1), (273, 130), (277, 1), (278, 20)]
    entries += [(279, len(data)), (339, sample_format)]
    tags = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries)
    file = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + tags
    content = file.ljust(130, b"\0") + data
    for opened in (open_file(content, "it"), open_file(file_of_memory(Image.open(io.BytesIO(content)))[0], "it")):
        assert opened.rendering.range == pytest.approx(levels)
        assert [opened.pixels.getpixel((x, 3)) for x in range(3)] == [(level,) * 3 for level in expected]


DEAD: dict[str, tuple[str, list[float], tuple[float, float], list[float]]] = {
    "12 bits, white": ("I;16", [0, 4080], (0, 4095), [65535]),
    "few values far up, and black and white": ("I;16", [30000, 31000], (30000, 31000), [0, 65535]),
    "12 bits of a word": ("I", [0, 4000], (0, 4095), [2**31 - 1, -(2**31)]),
    "floats": ("F", [0, 0.75], (0, 1), [1e30, -5]),
    "too many for outliers": ("I;16", [0, 4080], (0, 65535), [65535] * 9),
    "a drawing of a few pixels": ("I;16", [0, 0], (0, 65535), [65535, 30000]),
}


@each_case("name", DEAD)
def test_a_few_dead_pixels_do_not_darken_all_others(name: str) -> None:
    mode, (low, high), levels, dead = DEAD[name]
    image = Image.new("F" if mode == "F" else "I", (64, 64))
    numbers = [low + (high - low) * at // 63 if mode != "F" else low + (high - low) * at / 63 for at in range(64)] * 64
    numbers[70 : 70 + len(dead)] = dead
    image.putdata(numbers)
    found = open_file(encoded(image.convert(mode) if mode == "I;16" else image, "TIFF"), "it")
    assert found.rendering.range == pytest.approx(levels)
    black, white = levels
    clipped = [min(max((each - black) / (white - black), 0), 1) * 255 for each in numbers]
    assert all(abs(a - b) <= 1 for a, b in zip(found.pixels.getchannel(0).tobytes(), clipped, strict=True))


@each_case(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (1, 0)), (3, (1, 1)), (4, (0, 1)), (5, (0, 0)), (6, (1, 0)), (7, (1, 1)), (8, (0, 1))],
)
def test_rotated_photos_stand_upright(orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(marked(), "JPEG", exif=exif, quality=95), "photo")
    assert image.size == ((30, 20) if orientation < 5 else (20, 30))
    at = (corner[0] * (image.width - 6) + 3, corner[1] * (image.height - 6) + 3)
    assert near(image.getpixel(at), RED, 20)


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    data = encoded(marked(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9))
    assert open_image(data, "photo").size == (30, 20)


@each_case("name", KINDS)
def test_it_is_known_what_a_plain_program_shows_otherwise(name: str) -> None:
    kind, ours = KINDS[name], open_image(KINDS[name].data, name)
    found = stored(kind.data)
    with Image.open(io.BytesIO(kind.data)) as image:
        theirs = image.convert("RGB")
    assert (found.differs, found.size) == (kind.why, ours.size)
    assert (theirs.size == ours.size and theirs.tobytes() == ours.tobytes()) == (not kind.why)
    assert not kind.why or stored(as_png(ours).data).differs == ""


DAMAGED: dict[str, bytes] = {
    **{f"{mode} of {kind}": encoded(Image.effect_noise((90, 70), 60).convert(mode), kind) for mode, kind in (
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("1", "PNG"), ("P", "GIF"), ("RGB", "WEBP"),
    )},
    "progressive JPEG": encoded(Image.effect_noise((90, 70), 60).convert("RGB"), "JPEG", progressive=True),
}  # fmt: skip


@each_case("name", DAMAGED)
def test_files_are_as_damaged_for_training_as_for_solving(name: str) -> None:
    """A check for training makes an eighth of a JPEG's pixels; every cut and changed byte is seen as if it made all."""

    def verdict(read: Callable[[bytes, str], object], data: bytes) -> str | None:
        try:
            return read(data, "it") and None
        except DataError as error:
            return error.message

    data = DAMAGED[name]
    cut = [data[: len(data) * share // 24] for share in range(1, 25)]
    changed = [data[:at] + b"\xff\xd9\0" + data[at + 3 :] for at in range(3, len(data), len(data) // 24)]
    verdicts = {each: verdict(open_file, each) for each in [data, *cut, *changed]}
    assert {each: verdict(stored, each) for each in verdicts} == verdicts
    assert verdicts[data] is None
    assert len(set(verdicts.values())) > 2


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 12 opens no such file")
def test_a_premultiplied_grey_that_engines_cannot_open_is_written_again() -> None:
    data = bytearray(encoded(Image.new("LA", (30, 20), (90, 128)), "TIFF"))
    data[data.index(struct.pack("<HH", 338, 3)) + 8] = 1  # its alpha is premultiplied
    assert Image.open(io.BytesIO(data)).mode == "La"
    assert stored(bytes(data)).differs == "transparent"
