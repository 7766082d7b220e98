"""How well boxes and points match those of the row. How boxes are read: see `scoring.boxes`."""

from collections.abc import Callable, Sequence

import msgspec

from virc.core.errors import DataError
from virc.reasoning.calls import Call
from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Prompt, Sample
from virc.rewards.sample import sample as read
from virc.rewards.terms import answer_term, term
from virc.scoring import boxes as geometry
from virc.scoring.boxes import Box, PredictedBox

_MATCH = 0.5  # what the IoU of a matched pair must be over
_Region = tuple[int, float, float, float, float]
"""Index of an input, and left, top, right, bottom as shares of its sides."""


@answer_term
def iou(answer: str, sample: Sample, context: RewardContext) -> float:
    """Intersection over union of the box that the answer is and the nearest of the row's, 0 to 1; of answers only.

    Of an answer with several boxes the first counts; `matching` is for many. An answer that is no box scores 0.
    Source: om-ai-lab/VLM-R1, src/open-r1-multimodal/src/open_r1/vlm_modules/qwen_module.py, the reward of referring
    expressions: the IoU as it is, without a threshold.
    """
    return _best(sample, geometry.iou, without=0.0)


@answer_term
def giou(answer: str, sample: Sample, context: RewardContext) -> float:
    """Generalized IoU of the box that the answer is and the nearest of the row's, -1 to 1; of answers only.

    It grows with the distance of boxes that do not overlap. An answer that is no box has the least, -1.
    Source: Rezatofighi et al. (arXiv:1902.09630); VLA-R1 takes (GIoU + 1) / 2 (GigaAI-research/VLA-R1,
    RFT_training/train_utils/robot_bbox_traj_norm.py).
    """
    return _best(sample, geometry.giou, without=-1.0)


@answer_term
def ciou(answer: str, sample: Sample, context: RewardContext) -> float:
    """Complete IoU of the box that the answer is and the nearest of the row's, 0 to 1; of answers only.

    What is under 0, boxes that are far apart, counts as 0.
    Source: Zheng et al. (arXiv:1911.08287); cut off at 0 as in Leon-LihongWang/ViRC,
    src/train/reward_for_scale_fixed.py, which defines it and never calls it.
    """
    return max(0.0, _best(sample, geometry.ciou, without=0.0))


@answer_term
def matching(answer: str, sample: Sample, context: RewardContext) -> float:
    """How well the answer's boxes match the row's, 0 to 1: the sum of the IoU of pairs over 0.5, divided by the larger
    of both numbers of boxes.

    The box of the highest confidence takes the one it overlaps most, then the next; a repeated box counts once. Of
    answers only. Where the row has no box, an answer without one is right.
    Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py, accuracy_reward_iou, which gives nothing for such a
    row.
    """
    right, pairs = _matched(sample)
    matches = sum(bool(overlap) for _, overlap in pairs)
    sample.why["matching"] = f"{matches} of {len(right)} found, {len(pairs)} named"
    most = max(len(right), len(pairs))
    return sum(overlap for _, overlap in pairs) / most if most else 1.0


@answer_term
def confidence(answer: str, sample: Sample, context: RewardContext) -> float:
    """Whether the answer is sure of the right boxes: mean confidence of matched ones, 1 - confidence of others.

    Boxes are matched as in `matching`. 0 to 1; 0 where the answer holds no box. Of answers only.
    Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py, accuracy_reward_confidence.
    """
    _, pairs = _matched(sample)
    sure = [each.confidence if overlap else 1 - each.confidence for each, overlap in pairs]
    return sum(sure) / len(sure) if sure else 0.0


@answer_term
def point_in_box(answer: str, sample: Sample, context: RewardContext) -> float:
    """Whether the point that the answer is lies in one of the row's boxes, edges included: 1 or 0; of answers only.

    A point is written as `(x, y)` or `[x, y]`, in the coordinates of the prompt.
    Source: Gabesarch/grounded-rl, src/trainer/rl/examples/reward_function/point_in_bbox.py (ViGoRL).
    """
    right = _row_boxes(sample.prompt)
    point = geometry.read_point(answer, sample.prompt.view, sample.prompt.original)
    if point is None:
        sample.why["point_in_box"] = "the answer is no point"
        return 0.0
    x, y = point
    return float(any(left <= x <= to_x and top <= y <= to_y for left, top, to_x, to_y in right))


@term
def overlap(sample: Sample, context: RewardContext) -> float | None:
    """IoU of the region that a tool call shows and the annotated one, 0 to 1; no judge is asked.

    Both are counted as regions of an input, whichever crop of it they are written on; those of different inputs score
    0. Annotated is `box` of the row (left, top, right, bottom in pixels of the first image's file), else the region
    that the row's reference reply shows; if the reference answers instead, every region scores 0.
    Source: Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010, section 4.2.
    """
    if sample.kind != "tool" or sample.call is None:
        return None
    wanted = _annotated_region(sample.prompt)
    if wanted is None and sample.prompt.reference:
        sample.why["overlap"] = "the reference looks at nothing"
        return 0.0
    if wanted is None:
        raise UnscoredError("the row has no box, nor a reference that calls a tool")
    shown = _region(sample.call, sample.prompt)
    return geometry.iou(shown[1:], wanted[1:]) if shown[0] == wanted[0] else 0.0


def _row_boxes(prompt: Prompt) -> list[Box]:
    found = geometry.boxes_of_row(prompt.columns)
    if found is None:
        raise UnscoredError("the row has no boxes")
    return found


def _answered(sample: Sample) -> list[PredictedBox]:
    return geometry.read_boxes(sample.answer, sample.prompt.view, sample.prompt.original)


def _best(sample: Sample, measure: Callable[[Box, Box], float], without: float) -> float:
    right, found = _row_boxes(sample.prompt), _answered(sample)
    return max((measure(each.box, box) for each in found[:1] for box in right), default=without)


def _matched(sample: Sample) -> tuple[list[Box], Sequence[tuple[PredictedBox, float]]]:
    right = _row_boxes(sample.prompt)
    return right, geometry.match(geometry.distinct(_answered(sample)), right, _MATCH)


def _annotated_region(prompt: Prompt) -> _Region | None:
    box = prompt.columns.get("box")
    if box is not None:
        try:
            left, top, right, bottom = msgspec.convert(box, tuple[float, float, float, float])
        except msgspec.ValidationError:
            raise DataError("the row's box is not four numbers") from None
        width, height = prompt.original
        return 0, left / width, top / height, right / width, bottom / height
    call = read(prompt.reference, prompt).call if prompt.reference else None
    return _region(call, prompt) if call else None


def _region(call: Call, prompt: Prompt) -> _Region:
    """The region that a call shows: the index of the input, and left, top, right, bottom as shares of its sides.

    A call may be about an image that another call made: going back to the input, each box is put into the one before.
    """
    root, left, top, right, bottom = 0, 0.0, 0.0, 1.0, 1.0
    made: Call | None = call
    while made and made.index is not None:
        root = made.index
        if made.box:
            (width, height), box = prompt.view.sizes[root], made.box
            left, right = ((box[0] + side * (box[2] - box[0])) / width for side in (left, right))
            top, bottom = ((box[1] + side * (box[3] - box[1])) / height for side in (top, bottom))
        made = prompt.made_by[root]
    return root, left, top, right, bottom
