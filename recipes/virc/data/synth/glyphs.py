"""Labels drawn two ways: Pillow's own sans face, and a plotter face whose strokes are defined here.

A font file of the machine would make the same seed draw another picture elsewhere.
"""

import math
from functools import lru_cache

import msgspec
from PIL import Image, ImageDraw, ImageFont

# Strokes on a 4 x 6 grid (x right, y down), polylines separated by spaces, one digit pair per point.
_STROKES = {
    "0": "10 30 41 45 36 16 05 01 10", "1": "02 20 26", "2": "01 10 30 41 42 06 46",
    "3": "00 40 23 33 44 45 36 16 05",
    "4": "36 30 04 44", "5": "40 00 02 32 43 45 36 06", "6": "40 20 03 05 16 36 45 44 33 03", "7": "00 40 16",
    "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33", "9": "43 13 02 01 10 30 41 43 26 16",
    "?": "01 10 30 41 42 23 24|26 26",
    "A": "06 20 46|14 34", "B": "00 30 41 42 33 03|33 44 45 36 06 00", "C": "41 30 10 01 05 16 36 45",
    "D": "00 20 42 44 26 06 00", "E": "40 00 06 46|03 33", "F": "40 00 06|03 33", "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06|40 46|03 43", "J": "40 45 36 16 05", "K": "00 06|40 03 46", "L": "00 06 46", "M": "06 00 23 40 46",
    "N": "06 00 46 40", "P": "06 00 30 41 42 33 03", "Q": "10 30 41 45 36 16 05 01 10|24 46",
    "R": "06 00 30 41 42 33 03|23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05", "T": "00 40|20 26", "U": "00 05 16 36 45 40", "V": "00 26 40",
    "W": "00 16 23 36 40", "X": "00 46|40 06", "Y": "00 23 40|23 26", "Z": "00 40 06 46", "°": "10 20 21 11 10",
    "x": "02 46|06 42", "y": "02 24|42 06", "n": "02 06|03 12 32 43 46", "+": "04 44|22 26", "-": "04 44",
    "(": "30 12 14 36", ")": "10 32 34 16", ".": "26 26", " ": "",
}  # fmt: skip
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
SUPER = 4  # labels are drawn this much larger and reduced, so that strokes have smooth edges


class Face(msgspec.Struct, frozen=True):
    """The face of labels: `size` is the height of a capital in px; `slant` leans to the right, in px a px of height."""

    kind: str = "sans"
    size: int = 13
    bold: bool = False
    slant: float = 0.0


_font = lru_cache(maxsize=64)(ImageFont.load_default)


@lru_cache(maxsize=4096)
def mask(text: str, face: Face) -> Image.Image:
    """The text as a tight 8-bit mask (255 is ink), in px."""
    large = _plotted(text, face) if face.kind == "plotter" else _printed(text, face)
    if face.slant:
        lean = math.ceil(face.slant * large.height)
        matrix = (1, face.slant, -lean, 0, 1, 0)
        size = (large.width + lean, large.height)
        large = large.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    box = large.getbbox()
    tight = large.crop(box) if box else large
    return tight.resize((max(1, round(tight.width / SUPER)), max(1, round(tight.height / SUPER))), Image.Resampling.BOX)


def _printed(text: str, face: Face) -> Image.Image:
    font = _font(round(face.size * SUPER / 0.7))  # a capital of this face is 0.7 of its nominal size
    stroke = SUPER // 2 if face.bold else 0
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    large = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
    ImageDraw.Draw(large).text((2 - left, 2 - top), text, fill=255, font=font, stroke_width=stroke)
    return large


def _plotted(text: str, face: Face) -> Image.Image:
    unit = face.size * SUPER / 6
    pen = SUPER * (2.2 if face.bold else 1.4)
    large = Image.new("L", (math.ceil(len(text) * 5.6 * unit + 2 * pen), math.ceil(6 * unit + 2 * pen)))
    pencil = ImageDraw.Draw(large)
    for place, letter in enumerate(text):
        for line in filter(None, _STROKES[letter].split("|")):
            points = [
                (pen + (int(x) + 5.6 * place) * unit * 0.9, pen + int(y) * unit) for x, y in map(tuple, line.split())
            ]
            pencil.line(points, fill=255, width=round(pen), joint="curve")
            for x, y in (points[0], points[-1]):
                pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return large
