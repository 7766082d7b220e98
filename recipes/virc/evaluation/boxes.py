"""Answers that are boxes, scored by where they lie: each row by itself, and all rows of a model together.

A row is right if every annotated box has a box of the answer of its own at an IoU of 0.5 or more, and none of the
answer is left over. Of referring expressions, a box a row, that is the accuracy at 0.5 (Acc@0.5; djiajunustc/TransVG,
utils/eval_utils.py). How boxes are read: see `scoring.boxes`; all lie in pixels of the first image's file.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, product

import msgspec

from virc.core.errors import DataError
from virc.reasoning.calls import BoxView
from virc.scoring.box_sets import best_precisions, mean_precision
from virc.scoring.boxes import Box, PredictedBox, giou, iou, match, read_boxes

LEAST = 0.5
"""The IoU from which on two boxes are one."""


class Overlap(msgspec.Struct, frozen=True):
    """The boxes of an answer (`found`) compared with those of its row.

    Args:
        iou: 0 to 1: the mean over the pairs and whatever has no partner, which counts 0.
        giou: -1 to 1: the same of generalized IoU, if what has no partner counts -1.
        right: whether all have partners at an IoU of `LEAST` or more.
    """

    found: Sequence[PredictedBox]
    annotated: Sequence[Box]
    iou: float
    giou: float
    right: bool


class BoxScores(msgspec.Struct, frozen=True):
    """How a model did on rows whose answers are boxes.

    Args:
        of: rows; those without an answer are among them.
        mean_iou: mean of the rows' IoU. LISA (arXiv:2308.00692, Evaluation Metrics) names the mean of per-image IoUs
            gIoU, of masks; it is not generalized IoU. Its cIoU, all intersections by all unions, is not had here.
        mean_giou: mean of the rows' generalized IoU (arXiv:1902.09630).
        ap50: average precision at an IoU of 0.5 over all boxes of all rows; None if no row has any.
        mean_ap: COCO's: the mean over classes, which rows name by `category`, and over IoU of 0.5 to 0.95; None if
            no row with a box names one.
    """

    of: int
    mean_iou: float
    mean_giou: float
    ap50: float | None
    mean_ap: float | None = None


def overlap(answer: str | None, annotated: Sequence[Box], view: BoxView | None) -> Overlap:
    """Compare an answer with the boxes of its row, in pixels of the file; a DataError if there is no view."""
    if answer is None:
        return Overlap((), annotated, 0.0, -1.0, False)
    if view is None:
        raise DataError("an answer does not say what its boxes are counted in", "use another --to")
    found = read_boxes(answer, view)
    pairs = _pairs([each.box for each in found], annotated)
    most = max(len(found), len(annotated))
    alone = most - len(pairs)
    return Overlap(
        found,
        annotated,
        iou=sum(shared for shared, _ in pairs) / most if most else 1.0,
        giou=(sum(general for _, general in pairs) - alone) / most if most else 1.0,
        right=not alone and all(shared >= LEAST for shared, _ in pairs),
    )


def box_scores(overlaps: Sequence[Overlap], classes: Mapping[str, Sequence[Overlap]] | None = None) -> BoxScores | None:
    """The figures of a model, one overlap a row; None of no rows. `classes` are those of the rows that name one."""
    if not overlaps:
        return None
    of = len(overlaps)
    means = sum(each.iou for each in overlaps) / of, sum(each.giou for each in overlaps) / of
    return BoxScores(of, *means, average_precision(overlaps), mean_average_precision(classes or {}))


def average_precision(overlaps: Sequence[Overlap]) -> float | None:
    """The area under precision over recall, precision at a recall being the best at that or any higher one.

    All boxes of all rows are ranked by confidence. In its row each takes, the surest first, the annotated box that is
    left and overlaps it most, at an IoU of 0.5 or more, as in COCO. The area is over all points, as Pascal VOC has it
    since 2010. Boxes of equal confidence make one point, so that the order of rows decides nothing.
    """
    annotated = _annotated(overlaps)
    if not annotated:
        return None
    right, best = _curve(overlaps, LEAST)
    steps = [after - before for before, after in zip([0, *right], right, strict=False)]
    return sum(step * precision for step, precision in zip(steps, best, strict=True)) / annotated


def mean_average_precision(classes: Mapping[str, Sequence[Overlap]]) -> float | None:
    """The mean of precision over classes, ten thresholds of IoU (0.5, 0.55 to 0.95) and 101 recalls (0, 0.01 to 1).

    A class of which no row has a box is left out. Source: Lin et al., Microsoft COCO (arXiv:1405.0312), as
    cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py accumulates it; of boxes of equal confidence see
    `average_precision`.
    """
    found = []
    for rows, steps in product(filter(_annotated, classes.values()), range(10, 20)):
        right, best = _curve(rows, steps / 20)
        found.append(mean_precision(right, best, _annotated(rows)))
    return sum(found) / len(found) if found else None


def _annotated(overlaps: Sequence[Overlap]) -> int:
    return sum(len(each.annotated) for each in overlaps)


def _curve(overlaps: Sequence[Overlap], least: float) -> tuple[list[int], list[float]]:
    """For each confidence, from the highest: boxes that are right up to it, and the best precision from it on."""
    under = math.nextafter(least, 0.0)  # `match` takes an IoU over `least`
    by_confidence: dict[float, list[bool]] = defaultdict(list)
    for each in overlaps:
        for found, shared in match(each.found, each.annotated, under):
            by_confidence[found.confidence].append(shared > 0)
    ranked = [hits for _, hits in sorted(by_confidence.items(), reverse=True)]
    right = [*accumulate(sum(hits) for hits in ranked)]
    named = [*accumulate(len(hits) for hits in ranked)]
    return right, best_precisions(right, named)


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
