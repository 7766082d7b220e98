"""Pictures that a Python caller has in memory."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.solving import open_pictures

from virc.core.errors import DataError, UsageError

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


class Tensor:
    """What torch, jax and tensorflow have of numpy's interfaces."""

    def __array__(self) -> object:
        return RGB


@pytest.mark.parametrize(
    ("picture", "names"),
    [
        (np.zeros((3, 30, 40), np.uint8), r"uint8, 3 x 30 x 40: its channels come first \| array.transpose\(1, 2, 0\)"),
        (np.zeros((30, 40, 3)), r"float64, 30 x 40 x 3, not uint8 .* \| array.astype\('uint8'\), or \(array \* 255\)"),
        (np.zeros((30, 40), np.uint16), "uint16, 30 x 40, not"),
        (np.zeros((30, 40), bool), "bool, 30 x 40, not"),
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
