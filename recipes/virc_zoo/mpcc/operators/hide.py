"""What is under the black cover? The row's boxes are covered in its picture; the answer is what is there (MPCC).

The edges of a cover are blurred. Source: yjainqdc/MPCC-GRPO_with_prior_sample@c3ff602, train_script/image_utils.py.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from PIL import Image, ImageDraw, ImageFilter

from virc.reasoning.calls import Box, Size
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.operators.select import column_of
from virc_extras.make.self_labelled import FORMAT, asked

QUESTION = "Part of the picture is covered in black. From all around it, what is most likely there? " + FORMAT.format(
    "a short name of it"
)
_SIDES = 4  # of a cover, so many times the radius of its edges


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is covered.

    Args:
        boxes: column with a box or a list of them, also as JSON.
        form: `xywh` (as COCO has them) and `xyxy` in px of the upright picture; `permille`: xyxy in thousandths of it.
        answer: column with what is there.
        blur: radius of the edges of a cover, px.
        question: in place of this package's own words.
    """

    boxes: str = "bbox"
    form: Literal["xywh", "xyxy", "permille"] = "xywh"
    answer: str = "answer"
    blur: Annotated[float, Meta(ge=0, le=100)] = 5
    question: str = ""


def run(row: Row, means: Means[Options]) -> Made:
    """Cover the row's boxes."""
    options, picture = means.options, means.image(row)
    answer, boxes = column_of(row, options.answer), boxes_of(column_of(row, options.boxes), options.form, picture.size)
    if not isinstance(answer, str) or not answer.strip():
        return left_out("no answer", f"{options.answer} is no text")
    if not boxes:
        return left_out("no box", f"{options.boxes} has no boxes, or one that is not in the picture")
    if (side := min(min(box[2] - box[0], box[3] - box[1]) for box in boxes)) < _SIDES * options.blur:
        return left_out("small box", f"a side has {side} px, which blurred edges do not cover: under {_SIDES} * blur")
    images = [means.save(covered(picture, boxes, options.blur), "covered")]
    return kept(
        {
            **asked(row, images, options.question or QUESTION, answer.strip(), "hide"),
            "boxes": [list(box) for box in boxes],
        }
    )


def covered(picture: Image.Image, boxes: Sequence[Box], blur: float) -> Image.Image:
    """The picture with boxes covered, their right column and lower row as well, as published."""
    cover, made = Image.new("L", picture.size), picture.copy()
    for box in boxes:
        ImageDraw.Draw(cover).rectangle(box, fill=255)
    made.paste("black", mask=cover.filter(ImageFilter.GaussianBlur(blur)))
    return made


def boxes_of(value: Any, form: str, size: Size) -> list[Box]:
    """The boxes of a column in px; none where one is no box, or none of it is in the picture of that size."""
    try:
        value = msgspec.json.decode(value) if isinstance(value, str) else value
        written = value if value and isinstance(value[0], list) else [value]
        return [_box(*map(float, each), form=form, size=size) for each in written]
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError):
        return []


def _box(a: float, b: float, c: float, d: float, *, form: str, size: Size) -> Box:
    """A box in px. Raises ValueError, OverflowError: it is none, or outside."""
    if form == "xywh":
        c, d = a + c, b + d
    scales = [side / 1000 if form == "permille" else 1 for side in size]
    left, top, right, bottom = (math.trunc(each * scale) for each, scale in zip((a, b, c, d), 2 * scales, strict=True))
    if not (left < right and top < bottom and left < size[0] and top < size[1] and min(right, bottom) > 0):
        raise ValueError
    return left, top, right, bottom
