"""Whether a model looked where the answer is seen: how much of each box of evidence its crops showed.

The evidence of a row is `looks`, as drawn rows have it; else, beside an answer in words, `boxes` or `box` (as V* has
it). All are left, top, right, bottom in pixels of the first image's file. Only crops count: what of the evidence is
legible in the picture as a whole is not known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.reasoning.calls import Size
from virc.reasoning.trace import ImageRecord
from virc.scoring.boxes import MAX_BOXES, Box, area, boxes_of_row, intersection, reference_boxes

SEEN = 0.75
"""The share of a box that one crop must show for it to be seen. Boxes to look at have margins."""
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def of_fields(fields: Mapping[str, Any]) -> list[Box] | None:
    """The evidence of a row, at most `MAX_BOXES` boxes; None where it names none, or has boxes for an answer."""
    if not fields.get("looks"):
        found = None if reference_boxes(fields) is not None else boxes_of_row(fields)
        return found and found[:MAX_BOXES]
    try:
        return msgspec.convert(fields["looks"], list[Box])[:MAX_BOXES]
    except msgspec.ValidationError:
        raise DataError("the row's looks are no list of four numbers each") from None


def shown(evidence: Sequence[Box], size: Size, images: Sequence[ImageRecord]) -> list[float]:
    """The share of each box that the best crop shows, 0 to 1; `size` is (width, height) in px of the image's file."""
    width, height = size
    crops = [
        (left * width, top * height, right * width, bottom * height)
        for left, top, right, bottom in _crops(images, size)
    ]
    return [max((_part(box, crop) for crop in crops), default=0.0) for box in evidence]


def are_seen(shares: Sequence[float]) -> bool:
    """Whether crops showed all of the evidence."""
    return all(share >= SEEN for share in shares)


def _part(box: Box, crop: Box) -> float:
    if area(box) > 0:
        return intersection(box, crop) / area(box)
    return float(crop[0] <= box[0] <= box[2] <= crop[2] and crop[1] <= box[1] <= box[3] <= crop[3])


def _crops(images: Sequence[ImageRecord], size: Size) -> list[Box]:
    """The parts of the first image that were shown alone, as shares of its sides; crops of crops among them."""
    regions: dict[int, Box] = {0: _WHOLE}
    for image in images:
        if image.parent not in regions:
            continue
        left, top, right, bottom = regions[image.parent]
        if image.region:
            (left, right), (top, bottom) = ([at / side for at in image.region[low::2]] for low, side in enumerate(size))
        elif image.box:
            parent = images[image.parent]
            # shares first: of 784 px, 784 times a 784th is less than the whole
            xs = [left + x / parent.width * (right - left) for x in image.box[::2]]
            ys = [top + y / parent.height * (bottom - top) for y in image.box[1::2]]
            left, top, right, bottom = xs[0], ys[0], xs[1], ys[1]
        regions[image.index] = left, top, right, bottom
    return [region for region in regions.values() if region != _WHOLE]
