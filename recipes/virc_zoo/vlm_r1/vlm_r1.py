"""The reward of VLM-R1 for the region that a sentence means: how well its box overlaps the right one, and the format.

    R = overlap + framed

The first list of four whole numbers on one line of the first answer is the box, in pixels of the picture as shown.
Overlaps of at most one pixel count as none, and sides the wrong way round are not put right. The right box is the first
of the row's `boxes`.
Source: om-ai-lab/VLM-R1, src/open-r1-multimodal/src/open_r1/vlm_modules/qwen_module.py, iou_reward and
format_reward_rec (arXiv:2504.07615, 3.2).
"""

import re
from collections.abc import Callable
from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc.scoring import boxes as geometry
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("overlap", "framed")
whole = of_last_reply
BOX = r"\[(\d{1,99}),\s*(\d{1,99}),\s*(\d{1,99}),\s*(\d{1,99})]"
_Term = Callable[[Sample, RewardContext], float]


def terms(*frame: str, least: int = 1, parts: int | None = 1000) -> tuple[_Term, _Term]:
    """IoU of the answer's box and the row's, 0 to 1 where the sides of both are the right way round; and whether the
    parts of the frame, regular expressions, are in the reply, one behind the other, 1 or 0.

    Args:
        least: units that an overlap is wider and higher than.
        parts: units of each side of the file; None: its pixels.
    """

    def overlap(sample: Sample, context: RewardContext) -> float:
        boxes = geometry.boxes_of_row(sample.prompt.columns)
        if not boxes:
            raise UnscoredError("the row has no boxes")
        if (found := re.search(BOX, next(between(sample.text), "").strip())) is None:
            return 0.0
        written, view, other = [*map(int, found.groups())], sample.prompt.view, boxes[0]
        one = geometry.in_pixels(written, view, sample.prompt.original)
        wide, high = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
        across, down = (side / (parts or side) for side in sample.prompt.original)
        far = round(wide / across, 9) > least and round(high / down, 9) > least
        shared = wide * high if far else 0.0
        union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
        return shared / union if union else 0.0

    def framed(sample: Sample, context: RewardContext) -> float:
        at = 0
        for part in frame:
            if (found := re.compile(part).search(sample.text, at)) is None:
                return 0.0
            at = found.end()
        return 1.0

    return overlap, framed


overlap, framed = terms("<think>", r"</think>\s*<answer>", "{", BOX, "}", "</answer>", parts=None)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.overlap + t.framed)
