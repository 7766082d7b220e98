"""How well answers that are boxes lie, all rows of a model together: mean overlaps and average precisions."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Any

import msgspec

from virc.core.web import html
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import Answers, EvalFolder
from virc.evaluation.boxes import LEAST, Overlap, counting, overlap
from virc.evaluation.columns import Column, Fields
from virc.evaluation.pages import figures
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc_cli.console.tables import table
from virc_extras.studies.box_sets import best_precisions, mean_precision

_HEAD = ("model", "mean IoU", "mean generalized IoU", "AP50", "mean AP", "rows with boxes")


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
    by_confidence: dict[float, list[bool]] = defaultdict(list)
    for each in overlaps:
        for found, is_right in counting(each.found, each.annotated, each.crowds, least):
            by_confidence[found.confidence].append(is_right)
    ranked = [hits for _, hits in sorted(by_confidence.items(), reverse=True)]
    right = [*accumulate(sum(hits) for hits in ranked)]
    named = [*accumulate(len(hits) for hits in ranked)]
    return right, best_precisions(right, named)


class Boxes(Column):
    title = "Boxes"

    def of_answers(
        self, problems: Mapping[str, BenchmarkProblem], answers: Answers, folder: EvalFolder | None
    ) -> Mapping[tuple[str, str], Fields]:
        return {
            (model, id): {"boxes": overlap(line.answer, annotated, line.view, problem.crowds)}
            for model, lines in answers.items()
            for id, line in lines.items()
            if line.answers(problem := problems.get(id)) and problem and (annotated := problem.boxes) is not None
        }

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Fields:
        by_class: dict[str, list[Answered]] = defaultdict(list)
        for result, answer in answered:
            for category in result.categories.get("category", ()):
                by_class[category].append(answer)
        classes = {name: _overlaps(answers) for name, answers in by_class.items()}
        return {"boxes": box_scores(_overlaps(answer for _, answer in answered), classes)}

    def lines(self, summary: Summary) -> Iterator[str]:
        if rows := list(_rows(summary)):
            yield from table([_HEAD, *rows])

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        models = [model for model in summary.models if model.columns["boxes"]]
        return html.part("virc_extras:studies/boxes", models=models, figures=figures) if models else ""

    def cell(self, answered: Answered) -> str:
        found: Overlap | None = answered.columns.get("boxes")
        return f" <small>IoU {found.iou:.2f}</small>" if found and answered.answer is not None else ""


def column(given: None, request: EvalRequest) -> Column:
    return Boxes()


def _overlaps(answers: Iterable[Answered]) -> list[Overlap]:
    return [answer.columns["boxes"] for answer in answers if "boxes" in answer.columns]


def _rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for model in summary.models:
        found: BoxScores | None = model.columns["boxes"]
        if found:
            means = (figures.mean(found.mean_iou, 3), figures.mean(found.mean_giou, 3))
            shown = ("-" if each is None else figures.percent(each) for each in (found.ap50, found.mean_ap))
            yield model.name, *means, *shown, str(found.of)
