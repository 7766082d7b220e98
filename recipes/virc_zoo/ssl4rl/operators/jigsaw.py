"""Where does each piece of the picture belong? Its pieces, shown in an order that is drawn (SSL4RL).

The answer has a number for each place, row by row from the top left: which of the pieces belongs there. What equal
pieces leave over at the right and below is not shown. Source: PKU-ML/SSL4RL@57c830a, build_benchmarks/makejigsaw_*.py.
"""

from collections.abc import Sequence
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta
from PIL import Image

from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.self_labelled import FORMAT, MIN_SIDE, asked

QUESTION = (
    "These are the pieces of one picture, which was cut into {size} rows of {size}. Which piece belongs in each place, "
    "row by row from the top left? Pieces are counted from 1 in the order in which they are shown. "
    + FORMAT.format("their numbers with commas, such as {example},")
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pictures are cut.

    Args:
        size: pieces along each side; published: 2, and 5 for SEED-Bench.
        question: in place of this package's own words.
    """

    size: Annotated[int, Meta(ge=2, le=10)] = 2
    question: str = ""


def run(row: Row, means: Means[Options]) -> Made:
    """Cut the row's picture, and show its pieces in a drawn order."""
    size, pieces = means.options.size, cut(means.image(row), means.options.size)
    if min(pieces[0].size) < MIN_SIDE:
        return left_out("too small", f"a side of a piece has {min(pieces[0].size)} px, under {MIN_SIDE}")
    if len({piece.tobytes() for piece in pieces}) < len(pieces):
        return left_out("same pieces", "two of its pieces look the same")
    order = means.random.sample(range(len(pieces)), len(pieces))
    images = [means.save(pieces[at], f"piece-{number}") for number, at in enumerate(order, 1)]
    example = answer_of(Random(size).sample(order, len(order)))
    question = means.options.question or QUESTION.format(size=size, example=example)
    return kept(asked(row, images, question, answer_of(order), f"JigsawQA_{size}x{size}"))


def cut(picture: Image.Image, size: int) -> list[Image.Image]:
    """The pieces of a picture, row by row, `size` x `size` of one width and height."""
    width, height = picture.width // size, picture.height // size
    corners = [(across * width, down * height) for down in range(size) for across in range(size)]
    return [picture.crop((left, top, left + width, top + height)) for left, top in corners]


def answer_of(order: Sequence[int]) -> str:
    """The answer where the n-th piece shown is from place `order[n]`, both from 0."""
    return ",".join(str(order.index(place) + 1) for place in range(len(order)))
