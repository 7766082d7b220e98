"""Complete IoU of the box that the answer is and the nearest of the row's, 0 to 1; of answers only.

What is under 0, boxes that are far apart, counts as 0.
Source: Zheng et al. (arXiv:1911.08287); cut off at 0 as in Leon-LihongWang/ViRC, src/train/reward_for_scale_fixed.py,
which defines it and never calls it.
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "ciou"


def score(sample: "Sample", means: "Means") -> float | None:
    """The CIoU; 0 where the answer is no box."""
    nearest = boxes.best(sample, boxes.ciou, none=0.0)
    return None if nearest is None else max(0.0, nearest)
