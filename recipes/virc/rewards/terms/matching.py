"""How well the boxes of the answer match those of the row: the sum of IoU over 0.5, by the greater number, 0 to 1.

The surest box takes the one it overlaps most, then the next; a box that stands there twice counts once. Of answers
only. Where the row has no box, an answer without one is right.
Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py, accuracy_reward_iou, which has no point for such a row.
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "matching"
LEAST = 0.5
"""What the IoU of a pair must be over."""


def score(sample: "Sample", means: "Means") -> float | None:
    """The mean of the IoU over what should be there or is."""
    if sample.answer is None:
        return None
    right, found = boxes.annotated(sample.prompt), boxes.once(boxes.answered(sample))
    pairs = boxes.matched(found, right, LEAST)
    sample.why[NAME] = (
        f"{sum(bool(overlap) for _, overlap in pairs)} of {len(right)} found, {len(found)} named"
    )
    most = max(len(right), len(found))
    return sum(overlap for _, overlap in pairs) / most if most else 1.0
