"""Answers that are boxes, scored by where they lie.

A row is right if every annotated box has a box of the answer of its own at an IoU of 0.5 or more, and none of the
answer is left over. Of referring expressions, a box a row, that is the accuracy at 0.5 (Acc@0.5; djiajunustc/TransVG,
utils/eval_utils.py). How boxes are read: see `scoring.boxes`; all lie in pixels of the first image's file.
"""

import math
from collections.abc import Sequence
from itertools import product

import msgspec

from virc.core.errors import DataError
from virc.reasoning.calls import BoxView
from virc.scoring.boxes import Box, PredictedBox, giou, iou, is_crowd, match, read_boxes

LEAST = 0.5
"""The IoU from which on two boxes are one."""


class Overlap(msgspec.Struct, frozen=True):
    """The boxes of an answer (`found`) compared with those of its row.

    Args:
        iou: 0 to 1: the mean over the pairs and whatever has no partner, which counts 0.
        giou: -1 to 1: the same of generalized IoU, if what has no partner counts -1.
        right: whether all have partners at an IoU of `LEAST` or more.
        crowds: boxes around many objects. What pairs with no annotated box at `LEAST` and lies in one of these by at
            least that share counts in none of the three.
    """

    found: Sequence[PredictedBox]
    annotated: Sequence[Box]
    iou: float
    giou: float
    right: bool
    crowds: Sequence[Box] = ()


def overlap(answer: str | None, annotated: Sequence[Box], view: BoxView | None, crowds: Sequence[Box] = ()) -> Overlap:
    """Compare an answer with the boxes of its row, in pixels of the file; a DataError if there is no view."""
    if answer is None:
        return Overlap((), annotated, 0.0, -1.0, False, crowds)
    if view is None:
        raise DataError("an answer does not say what its boxes are counted in", "use another «--to»")
    found = read_boxes(answer, view)
    counted = counting(found, annotated, crowds, LEAST)
    pairs = _pairs([each.box for each, _ in counted], annotated)
    most = max(len(counted), len(annotated))
    alone = most - len(pairs)
    return Overlap(
        found,
        annotated,
        iou=sum(shared for shared, _ in pairs) / most if most else 1.0,
        giou=(sum(general for _, general in pairs) - alone) / most if most else 1.0,
        right=not alone and all(shared >= LEAST for shared, _ in pairs),
        crowds=crowds,
    )


def counting(
    found: Sequence[PredictedBox], annotated: Sequence[Box], crowds: Sequence[Box], least: float
) -> list[tuple[PredictedBox, bool]]:
    """The boxes of an answer that count, the surest first, each with whether it is right at an IoU of `least`."""
    under = math.nextafter(least, 0.0)  # both take what is over it
    matched = [(each, shared > 0) for each, shared in match(found, annotated, under)]
    return [(each, is_right) for each, is_right in matched if is_right or not is_crowd(each.box, crowds, under)]


def _pairs(found: Sequence[Box], annotated: Sequence[Box]) -> list[tuple[float, float]]:
    """IoU and generalized IoU of pairs one to one, as many as can be: those that overlap most pair off first."""
    free, open_ = set(range(len(found))), set(range(len(annotated)))
    pairs = []
    every = product(enumerate(found), enumerate(annotated))
    measured = ((iou(box, right), giou(box, right), one, other) for (one, box), (other, right) in every)
    for shared, general, one, other in sorted(measured, reverse=True):
        if one in free and other in open_:
            free.remove(one)
            open_.remove(other)
            pairs.append((shared, general))
    return pairs
