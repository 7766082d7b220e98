"""Pictures that a Python caller has in memory."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.solving import open_pictures

from virc.core.errors import DataError
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning.history import show_input
from virc.reasoning.images import open_file

OURS = chat_protocol.of_weights(Weights("m", Path()), "default")
RED = (200, 10, 20)


def _saved(image: Image.Image, kind: str = "PNG", **words: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **words)
    return file


PLAIN = Image.new("RGB", (40, 30), RED)
PNG = _saved(PLAIN).getvalue()


GREY = Image.linear_gradient("L").resize((60, 40))
COLOURS = Image.merge("RGB", (GREY, GREY.rotate(180), GREY.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
WIDE = np.asarray(GREY).astype(np.uint16)
CLEAR = GREY.rotate(90).resize((60, 40))
PALETTE = COLOURS.quantize(16)
LAB = ImageCms.applyTransform(
    COLOURS, ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
)
FILES = {
"1 PNG": _saved(GREY.convert("1")),
"P with an alpha of each colour": _saved(PALETTE, transparency=bytes([0, 128, *[255] * 14])),
"RGB with a transparent colour": _saved(COLOURS, transparency=COLOURS.getpixel((5, 5))),
"RGBA WebP": _saved(Image.merge("RGBA", (*COLOURS.split(), CLEAR)), "WEBP", lossless=True),
"I;16 PNG": _saved(Image.fromarray(WIDE * 257)),
"I;16B": _saved(Image.frombytes("I;16B", GREY.size, (WIDE * 257).astype(">u2").tobytes()), "TIFF"),
"F": _saved(Image.fromarray(WIDE.astype(np.float32) / 255), "TIFF"),
"CMYK JPEG, inverted by Adobe": _saved(COLOURS.convert("CMYK"), "JPEG"),
"LAB": _saved(LAB, "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_picture_looks_the_same_through_every_door(name: str) -> None:
    data = FILES[name].getvalue()
    expected = open_file(data, "it").pixels
    loaded = Image.open(io.BytesIO(data))
    loaded.load()
    doors = [*open_pictures([data, Image.open(io.BytesIO(data)), loaded, loaded.copy()])]
    shown = show_input(Image.open(io.BytesIO(data)), OURS)
    assert {(each.size, each.pixels.tobytes()) for each in doors} == {(expected.size, expected.tobytes())}
    assert shown.pixels.tobytes() == show_input(open_file(data, "it"), OURS).pixels.tobytes()
    assert len(set(expected.convert("L").tobytes())) > 1


def test_damaged_or_impossible_pictures_are_data_errors() -> None:
    for picture in (b"", PNG[:60], Image.open(io.BytesIO(PNG[:60]))):
        with pytest.raises(DataError, match="picture 2"):
            open_pictures([PNG, picture])
    with pytest.raises(DataError, match="times the other"):
        open_pictures([Image.new("L", (4000, 4))])
