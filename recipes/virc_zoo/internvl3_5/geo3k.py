r"""The reward of verl for geometry: 0.9 * right + 0.1 * format, where the answer stands in the last \boxed{}.

As `easy_r1`, also in how answers are compared, but that white space counts: a thought begins the reply at once, and
its marks have none in them. From 0 to 1.
Source: Weiyun1025/verl-internvl@3950bc4, verl/utils/reward_score/geo3k.py, as in verl-project/verl.
"""

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.graders import boxed_equal
from virc_zoo.thinklite_vl import easy_r1
from virc_zoo.thinklite_vl.easy_r1 import TERMS, total, whole

__all__ = ("TERMS", "formed", "right", "total", "whole")


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether what stands in the last box is the right answer: 1 or 0."""
    return float(await boxed_equal(sample.text, sample.prompt.key.answer))


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply begins with a thought, and has a box behind it: 1 or 0."""
    return easy_r1.in_format(sample.text)
