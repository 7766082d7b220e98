"""The reward of VLM-R1 for the region that a sentence means: how well its box overlaps the right one, and the format.

    R = overlap + framed

The first list of four whole numbers on one line of the first answer is the box, in pixels of the picture as shown.
Overlaps of at most one pixel count as none, and sides the wrong way round are not put right. The right box is the first
of the row's `boxes`.
Source: om-ai-lab/VLM-R1, src/open-r1-multimodal/src/open_r1/vlm_modules/qwen_module.py, iou_reward and
format_reward_rec (arXiv:2504.07615, 3.2).
"""

import re
from typing import Any

from virc.rewards.means import Means, UnscoredError
from virc.rewards.sample import Sample
from virc.scoring import boxes as geometry
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("overlap", "framed")
whole = of_last_reply
_BOX = re.compile(r"\[(\d{1,99}),\s*(\d{1,99}),\s*(\d{1,99}),\s*(\d{1,99})]")
_FRAME = [re.compile(part) for part in ("<think>", r"</think>\s*<answer>", "{", _BOX.pattern, "}", "</answer>")]


def overlap(sample: Sample, means: Means) -> float:
    """IoU of the answer's box and the row's: 0 to 1 where the sides of both are the right way round."""
    boxes = geometry.boxes_of_row(sample.prompt.columns)
    if not boxes:
        raise UnscoredError("the row has no boxes")
    found = _BOX.search(next(between(sample.text), "").strip())
    if found is None:
        return 0.0
    one, other = geometry.in_pixels([*map(int, found.groups())], sample.prompt.view, sample.prompt.original), boxes[0]
    wide, high = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
    shared = wide * high if wide > 1 and high > 1 else 0.0
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / union if union else 0.0


def framed(sample: Sample, means: Means) -> float:
    """Whether a marked thought and behind it a marked answer with a box in braces are in the reply: 1 or 0."""
    at = 0
    for part in _FRAME:
        found = part.search(sample.text, at)
        if found is None:
            return 0.0
        at = found.end()
    return 1.0


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.overlap + t.framed)
