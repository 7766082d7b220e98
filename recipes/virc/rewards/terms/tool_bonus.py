"""Whether the answer is right after a tool has shown an image: 1 or 0; of replies that answer only.

What is right, `answer` says, with a judge where there is one.
Source: Visual-Agent/DeepEyes, verl/utils/reward_score/vl_agent.py, which gives 1.2 for it, and 0.4 in an older version
that does not look at the answer.
"""

from typing import TYPE_CHECKING

from virc.rewards.terms import answer, shown

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "tool_bonus"


async def score(sample: "Sample", means: "Means") -> float | None:
    """1 where it is."""
    right = await answer.score(sample, means)
    return None if right is None else float(right > 0.5 and shown.score(sample, means) > 0)
