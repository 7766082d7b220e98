"""Whether the point that the answer is lies in one of the row's boxes, edges included: 1 or 0; of answers only.

A point is written as `(x, y)` or `[x, y]`, counted in what the prompt's boxes are.
Source: Gabesarch/grounded-rl, src/trainer/rl/examples/reward_function/point_in_bbox.py (ViGoRL).
"""

from typing import TYPE_CHECKING

from virc.rewards import boxes

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "point_in_box"


def score(sample: "Sample", means: "Means") -> float | None:
    """1 where it does."""
    if sample.answer is None:
        return None
    right, at = boxes.annotated(sample.prompt), boxes.point(sample)
    if at is None:
        sample.why[NAME] = "the answer is no point"
        return 0.0
    x, y = at
    return float(any(left <= x <= far and top <= y <= low for left, top, far, low in right))
