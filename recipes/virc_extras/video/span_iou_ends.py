"""Whether the answer names the right span of time, and both of its ends: as Time-R1 rewards it; of answers only."""

from typing import TYPE_CHECKING

from virc_extras.video.spans import ends_iou, length_of, spans_of

if TYPE_CHECKING:
    from virc.rewards.context import RewardContext
    from virc.rewards.sample import Sample

NAME = "span_iou_ends"


def score(sample: "Sample", context: "RewardContext") -> float | None:
    """The IoU of the spans times the closeness of their ends; the row has the length of its clip as a column."""
    if sample.answer is None:
        return None
    found, right = spans_of(sample, NAME)
    return ends_iou(found, right, length_of(sample.prompt.columns)) if found else 0.0
