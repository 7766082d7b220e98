"""Which quarter of the picture is the piece from? A picture, and a piece of one of its quarters (SSL4RL).

The answer is top-left, top-right, bottom-left or bottom-right. Source: PKU-ML/SSL4RL@57c830a,
build_benchmarks/makeposition_*.py.
"""

from typing import Literal

import msgspec
from PIL import Image

from virc.reasoning.calls import Box, Size
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.self_labelled import FORMAT, MIN_SIDE, asked, first
from virc_zoo.ssl4rl.operators._augment import AUGMENTATIONS, recoloured

QUARTERS = ("top-left", "top-right", "bottom-left", "bottom-right")
SHARES = (0.2, 0.8)
"""Least and largest side of a piece, as a share of its quarter's."""
QUESTION = (
    "The second picture is a piece of the first, whose colours may be changed. Which quarter of the first is it from: "
    "top-left, top-right, bottom-left or bottom-right? " + FORMAT.format("that quarter")
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pieces are made.

    Args:
        augment: how strongly the colours of a piece are changed; published rows: none.
        question: in place of this package's own words.
    """

    augment: Literal["none", "weak", "strong"] = "none"
    question: str = ""


def run(row: Row, means: Means[Options]) -> Made:
    """Cut a piece out of a quarter of the row's picture; both are drawn."""
    options, picture, random = means.options, means.image(row), means.random
    name = random.choice(QUARTERS)
    left, top, right, bottom = quarter(picture.size, name)
    sides = [(max(MIN_SIDE, int(side * SHARES[0])), int(side * SHARES[1])) for side in (right - left, bottom - top)]
    if any(least > most for least, most in sides):
        return left_out("too small", f"a quarter has no room for a piece of {MIN_SIDE} px")
    width, height = (random.randint(*each) for each in sides)
    x, y = random.randint(left, right - width), random.randint(top, bottom - height)
    box = x, y, x + width, y + height
    piece = picture.crop(box)
    if piece.tobytes() == Image.new("RGB", piece.size, piece.getpixel((0, 0))).tobytes():
        return left_out("one colour", "nothing is to be seen on its piece")
    if options.augment != "none":
        piece = recoloured(piece, AUGMENTATIONS[options.augment], random)
    images = [first(row, means), means.save(piece, "piece")]
    return kept({**asked(row, images, options.question or QUESTION, name, "PositionQA"), "box": list(box)})


def quarter(size: Size, name: str) -> Box:
    """The box in px of a quarter; of an odd side, the right or lower one has a pixel more."""
    (width, height), at = size, QUARTERS.index(name)
    across, down = (0, width // 2, width)[at % 2 :], (0, height // 2, height)[at // 2 :]
    return across[0], down[0], across[1], down[1]
