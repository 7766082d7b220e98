"""Intersection over union of the box that the answer is and the nearest of the row's, 0 to 1; of answers only.

Of an answer with several boxes the first counts; `matching` is for many. How boxes are read: see `boxes`.
Source: om-ai-lab/VLM-R1, src/open-r1-multimodal/src/open_r1/vlm_modules/qwen_module.py, the reward of referring
expressions: the IoU as it is, without a threshold.
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "iou"


def score(sample: "Sample", means: "Means") -> float | None:
    """The IoU; 0 where the answer is no box."""
    return boxes.best(sample, boxes.iou, none=0.0)
