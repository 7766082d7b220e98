"""Whether the answer is sure of the right boxes: the mean of its confidence in matched ones, and of 1 - it in others.

Boxes are matched as in `matching`. 0 to 1; 0 where the answer holds no box. Of answers only.
Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py, accuracy_reward_confidence.
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes
from virc.rewards.terms.matching import LEAST

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "confidence"


def score(sample: "Sample", means: "Means") -> float | None:
    """The mean over the boxes of the answer."""
    if sample.answer is None:
        return None
    right, found = boxes.annotated(sample.prompt), boxes.once(boxes.answered(sample))
    pairs = boxes.matched(found, right, LEAST)
    sure = [each.confidence if overlap else 1 - each.confidence for each, overlap in pairs]
    return sum(sure) / len(sure) if sure else 0.0
