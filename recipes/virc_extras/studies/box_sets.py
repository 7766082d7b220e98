"""How well the boxes of an answer cover those of a row: matched one to one, weighted, at one overlap or over many.

Boxes are left, top, right, bottom in pixels of one image. They are matched so that the sum of all gains is the greatest
(`scipy.optimize.linear_sum_assignment`); the average precision alone takes box by box, as `boxes.match` does. A weight
says how much a box of the row matters, such as its salience; without weights all count alike.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, product
from math import fsum
from typing import NamedTuple

from virc.core.extras import require
from virc.scoring.boxes import Box, PredictedBox, iou, match

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""0.50, 0.55 to 0.95: the overlaps over which COCO averages (cocodataset.org, detection evaluation)."""

_SAME_WEIGHTS = 1e-6  # of the least weight: sums of weights that differ by less are equal


class Pair(NamedTuple):
    """A box of an answer and one of the row, by their places, and their IoU, 0 to 1."""

    found: int
    right: int
    overlap: float


class Agreement(NamedTuple):
    """Precision and recall of boxes, 0 to 1, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def matched(
    found: Sequence[Box], right: Sequence[Box], weights: Sequence[float] | None = None, min_iou: float = 0.0
) -> list[Pair]:
    """The pairs of one-to-one matching whose weights sum up to the most; of equal sums, that with the most overlap.

    Args:
        weights: of the boxes in `right`, each over 0.
        min_iou: the IoU that a pair must have; two boxes that do not overlap are never a pair.

    Raises:
        ValueError: there are not as many weights as boxes, or one is not over 0.
    """
    right_weights = _weights(right, weights)
    if not found or not right:
        return []
    overlaps = [[iou(one, other) for other in right] for one in found]
    # all overlaps together count less than any difference of weights that matters
    worth = _SAME_WEIGHTS * min(right_weights) / min(len(found), len(right))
    gains = [
        [
            weight + worth * overlap if _can_pair(overlap, min_iou) else 0.0
            for weight, overlap in zip(right_weights, row, strict=True)
        ]
        for row in overlaps
    ]
    pairs = [Pair(one, other, overlaps[one][other]) for one, other in assigned(gains)]
    return [pair for pair in pairs if _can_pair(pair.overlap, min_iou)]


def agreement(
    found: Sequence[Box], right: Sequence[Box], weights: Sequence[float] | None = None, min_iou: float = 0.5
) -> Agreement:
    """Precision, recall and F1 of boxes that match with an IoU of at least `min_iou`.

    precision: number of matched boxes of the answer / number of its boxes
    recall: sum of the weights of matched boxes of the row / sum of all its weights
    F1: 2 * precision * recall / (precision + recall)

    All are 1 where neither side has a box, and 0 where one side alone has some.
    """
    if not found or not right:
        value = float(not found and not right)
        return Agreement(value, value, value)
    right_weights, pairs = _weights(right, weights), matched(found, right, weights, min_iou)
    precision = len(pairs) / len(found)
    recall = fsum(right_weights[pair.right] for pair in pairs) / fsum(right_weights)
    return Agreement(precision, recall, 2 * precision * recall / (precision + recall) if pairs else 0.0)


def mean_agreement(
    found: Sequence[Box],
    right: Sequence[Box],
    weights: Sequence[float] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Agreement:
    """The means of `agreement` over several thresholds of IoU."""
    values = [agreement(found, right, weights, min_iou) for min_iou in thresholds]
    return Agreement(*(fsum(column) / len(values) for column in zip(*values, strict=True)))


def weighted_overlap(found: Sequence[Box], right: Sequence[Box], weights: Sequence[float] | None = None) -> float:
    """The sum of weight * IoU of the matched boxes, by the sum of all weights, 0 to 1; 1 where no side has a box.

    The matching is that of the greatest sum. A box too many costs nothing here: `agreement` counts those.
    """
    right_weights = _weights(right, weights)
    if not found or not right:
        return float(not found and not right)
    gains = [[weight * iou(one, other) for weight, other in zip(right_weights, right, strict=True)] for one in found]
    return fsum(gains[one][other] for one, other in assigned(gains)) / fsum(right_weights)


def mean_average_precision(
    found: Mapping[str, Sequence[Box]], right: Mapping[str, Sequence[Box]], thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """COCO's mean average precision of the boxes of one picture, label -> boxes, the surest first; 0 to 1.

    The mean over the labels of the row, the thresholds of IoU, and 101 recalls (0, 0.01 to 1) of the best precision at
    that recall or a higher one. A label that the row has not costs nothing. 1 where no side has a box.
    Source: Lin et al., Microsoft COCO (arXiv:1405.0312), as cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py
    counts it; om-ai-lab/VLM-R1, src/open-r1-multimodal/src/open_r1/grpo_jsonl.py, map_reward, which rewards it, and
    multiplies it by right boxes / found boxes where there are too many (odLength_reward).
    """
    labels = [label for label, boxes in right.items() if boxes]
    if not labels:
        return float(not any(found.values()))
    values = list[float]()
    for label, min_iou in product(labels, thresholds):
        boxes = [PredictedBox(box) for box in found.get(label, ())]
        # in their order, each with the one that it overlaps most
        pairs = match(boxes, right[label], math.nextafter(min_iou, 0.0))
        hits = [*accumulate(overlap > 0 for _, overlap in pairs)]
        best = best_precisions(hits, range(1, len(hits) + 1))
        values.append(mean_precision(hits, best, len(right[label])))
    return fsum(values) / len(values)


def best_precisions(right: Sequence[int], named: Sequence[int]) -> list[float]:
    """For each rank the best precision, right boxes / named boxes up to it, at that rank or a later one."""
    precisions = [hits / of for hits, of in zip(right, named, strict=True)]
    return [*accumulate(reversed(precisions), max)][::-1]


def mean_precision(right: Sequence[int], best: Sequence[float], annotated: int) -> float:
    """The mean of the best precision at 101 recalls, 0, 0.01 to 1, as COCO has it; 0 at a recall that is not reached.

    Args:
        right: how many boxes are right up to each rank.
        best: as of `best_precisions`.
        annotated: how many boxes there are to be found.
    """
    recalls = [hits / annotated for hits in right]
    # with the rounding of pycocotools 2.0.11: 7 of 10 boxes do not reach 70 * 0.01
    ranks = (bisect_left(recalls, percent * 0.01) for percent in range(101))
    return fsum(best[rank] for rank in ranks if rank < len(best)) / 101


def assigned(gains: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """The places, each row and each column once, at which a matrix sums up to the most."""
    require("scipy", "matching boxes one to one", "eval")
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped, unused-ignore]

    rows, columns = linear_sum_assignment(gains, maximize=True)
    return [*zip(rows.tolist(), columns.tolist(), strict=True)]


def _can_pair(overlap: float, min_iou: float) -> bool:
    return overlap > 0 and overlap >= min_iou


def _weights(right: Sequence[Box], weights: Sequence[float] | None) -> Sequence[float]:
    if weights is None:
        return [1.0] * len(right)
    if len(weights) != len(right) or any(weight <= 0 for weight in weights):
        raise ValueError(f"{len(right)} boxes need as many weights over 0, not {list(weights)!r:.80}")
    return weights
