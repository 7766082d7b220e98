"""Whether a model looked where the answer is seen: how much of each box of evidence its crops showed.

The evidence of a row is `looks`, as drawn rows have it; else, if the answer is in words, `boxes` or `box` (as V* has
it). All are left, top, right, bottom in pixels of the first image's file. Only crops count: what of the evidence is
legible in the picture as a whole is not known, and a crop of half of it or more shows little more than that; nor do
crops that show so much of it together.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

from virc.reasoning.calls import Size
from virc.reasoning.trace import ImageRecord
from virc.scoring.boxes import MAX_BOXES, Box, area, boxes_of_row, further_boxes, intersection, reference_boxes

SEEN = 0.75
"""The share of a box that one crop must show for it to be seen. Boxes to look at have margins."""
NEARLY_ALL = 0.5
"""The area of crops, as a share of the picture's, from which on they are no look: they were not chosen from much."""
_STEP = 2  # times the area of the smallest crop, from which on crops are steps on the way to it
WHOLE = (0.0, 0.0, 1.0, 1.0)
_NO_AREA = (0.0, 0.0, 0.0, 0.0)


def of_fields(fields: Mapping[str, Any]) -> list[Box] | None:
    """The evidence of a row, at most `MAX_BOXES` boxes; None if it names none, or has boxes for an answer."""
    found: list[Box] | None = further_boxes(fields, "looks") or None
    if not found and reference_boxes(fields) is None:
        found = boxes_of_row(fields)
    return found and found[:MAX_BOXES]


def shown(evidence: Sequence[Box], size: Size, images: Sequence[ImageRecord]) -> list[float]:
    """The share of each box that the best crop shows, 0 to 1; `size` is (width, height) in px of the image's file."""
    width, height = size
    looks = [
        (left * width, top * height, right * width, bottom * height)
        for left, top, right, bottom in looked_at([box for root, box in crops(images, [size]) if root == 0])
    ]
    return [max((_part(box, look) for look in looks), default=0.0) for box in evidence]


def looked_at(crops: Sequence[Box]) -> list[Box]:
    """Those of the crops of a picture that are looks, in shares of its sides; none of crops that leave out little.

    A model that searches everything and then cuts out less has looked; one whose smallest crops show all has not.
    """
    least = min(map(area, crops), default=0.0)
    if _union([crop for crop in crops if area(crop) < _STEP * least]) >= NEARLY_ALL:
        return []
    return [crop for crop in crops if area(crop) < NEARLY_ALL]


def _union(boxes: Sequence[Box]) -> float:
    """The area that boxes cover together: that of all cells between their sides that one of them covers."""
    columns, rows = (pairwise(sorted({side for box in boxes for side in box[low::2]})) for low in (0, 1))
    cells = ((left, top, right, bottom) for (left, right), (top, bottom) in product(columns, rows))
    return sum(area(cell) for cell in cells if any(intersection(cell, box) > 0 for box in boxes))


def are_seen(shares: Sequence[float]) -> bool:
    return all(share >= SEEN for share in shares)


def _part(box: Box, crop: Box) -> float:
    if area(box) > 0:
        return intersection(box, crop) / area(box)
    return float(crop[0] <= box[0] <= box[2] <= crop[2] and crop[1] <= box[1] <= box[3] <= crop[3])


def crops(images: Sequence[ImageRecord], sizes: Sequence[Size]) -> list[tuple[int, Box]]:
    """The parts of the inputs that were shown alone, crops of crops too: the input's index, and shares of its sides.

    A frame or page that a tool showed is none of the first look: it has its own index, and no area.

    `sizes` are (width, height) in px of the files of the first inputs; of others nothing is returned.
    """
    of_inputs = [found for index, found in regions(images, sizes).items() if index >= len(sizes)]
    return of_inputs + [(each.index, _NO_AREA) for each in images[len(sizes) :] if each.place and each.parent is None]


def regions(images: Sequence[ImageRecord], sizes: Sequence[Size]) -> dict[int, tuple[int, Box]]:
    """The same of each image by its index, inputs too."""
    regions: dict[int, tuple[int, Box]] = {index: (index, WHOLE) for index in range(len(sizes))}
    for image in images:
        if image.parent not in regions:
            continue
        root, (left, top, right, bottom) = regions[image.parent]
        if image.region:
            sides = enumerate(sizes[root])
            (left, right), (top, bottom) = ([at / side for at in image.region[low::2]] for low, side in sides)
        elif image.box:
            parent = images[image.parent]
            # shares first: of 784 px, 784 times a 784th is less than the whole
            xs = [left + x / parent.width * (right - left) for x in image.box[::2]]
            ys = [top + y / parent.height * (bottom - top) for y in image.box[1::2]]
            left, top, right, bottom = xs[0], ys[0], xs[1], ys[1]
        regions[image.index] = root, (left, top, right, bottom)
    return regions
