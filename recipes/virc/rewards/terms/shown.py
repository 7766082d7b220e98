"""How many images tools have shown in the rollout up to this reply.

Totals make a bonus of it. Source: Visual-Agent/DeepEyes, verl/utils/reward_score/vl_agent.py, which counts the images
that tools put into a completion.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "shown"


def score(sample: "Sample", means: "Means") -> float:
    """Their number."""
    return float(sum(each.shown is not None for each in sample.prompt.calls))
