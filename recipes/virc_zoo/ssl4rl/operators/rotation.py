"""How far is the second picture turned? Quarter turns, counter-clockwise, which `orient_image` undoes (SSL4RL).

The answer is 0, 90, 180 or 270. Source: PKU-ML/SSL4RL@57c830a, build_benchmarks/makerotation_*.py.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from PIL import Image

from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.self_labelled import FORMAT, MIN_SIDE, asked, first

QUESTION = (
    "The second picture is the first one, turned counter-clockwise by 0, 90, 180 or 270 degrees. By how many? "
    + FORMAT.format("the number of degrees")
)
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pictures are turned.

    Args:
        canvas: `whole` shows all of the turned picture; `same` keeps width and height, cuts off what does not fit and
            fills with black, as published for SEED-Bench and RealWorldQA.
        max_side: a turned picture with a longer side is made smaller, to 512 px for these two; 0: never.
        question: in place of this package's own words.
    """

    canvas: Literal["whole", "same"] = "whole"
    max_side: Annotated[int, Meta(ge=0)] = 0
    question: str = ""


def run(row: Row, means: Means[Options]) -> Made:
    """Turn the row's picture by an angle that is drawn."""
    options, picture = means.options, means.image(row)
    angle = means.random.choice((0, *_TURNS))
    made = turned(picture, angle, options.canvas)
    if any(turned(picture, other, options.canvas) == made for other in (0, *_TURNS) if other != angle):
        return left_out("same when turned", f"turned by {angle} degrees it is as turned by others")
    if options.max_side:
        made.thumbnail((options.max_side, options.max_side), Image.Resampling.LANCZOS)
    if min(made.size) < MIN_SIDE:
        return left_out("too small", f"a side has {min(made.size)} px, under {MIN_SIDE}")
    images = [first(row, means), means.save(made, "turned")]
    return kept(asked(row, images, options.question or QUESTION, str(angle), "RotationQA_90degree"))


def turned(picture: Image.Image, angle: int, canvas: str = "whole") -> Image.Image:
    """The picture turned counter-clockwise by 0, 90, 180 or 270 degrees."""
    if canvas == "same":
        return picture.rotate(angle)
    return picture.transpose(_TURNS[angle]) if angle else picture.copy()
