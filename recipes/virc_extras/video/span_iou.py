"""Whether the answer names the right span of time: their IoU, 0 to 1; of answers only."""

from typing import TYPE_CHECKING

from virc_extras.studies.intervals import iou
from virc_extras.video.spans import spans_of

if TYPE_CHECKING:
    from virc.rewards.context import RewardContext
    from virc.rewards.sample import Sample

NAME = "span_iou"


def score(sample: "Sample", context: "RewardContext") -> float | None:
    """The IoU of the span in the answer and that of the row, in any form that `spans.span_of` reads."""
    if sample.answer is None:
        return None
    found, right = spans_of(sample, NAME)
    return iou(found, right) if found else 0.0
