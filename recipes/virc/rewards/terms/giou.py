"""Generalized IoU of the box that the answer is and the nearest of the row's, -1 to 1; of answers only.

It tells how far boxes are apart that do not overlap. An answer that is no box has the least, -1.
Source: Rezatofighi et al. (arXiv:1902.09630); VLA-R1 takes (GIoU + 1) / 2 (GigaAI-research/VLA-R1,
RFT_training/train_utils/robot_bbox_traj_norm.py).
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "giou"


def score(sample: "Sample", means: "Means") -> float | None:
    """The GIoU."""
    return boxes.best(sample, boxes.giou, none=-1.0)
