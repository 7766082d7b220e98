"""Whether the answer is equal to the right one by rule or by algebra: 1 or 0, without a judge; of answers only.

Source: math-verify, as most rewards for mathematics have it. It knows no choices: those are compared by rule.
"""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

from virc.rewards.means import NO_ALGEBRA, UnscoredError
from virc.scoring.score import score as by_rule

NAME = "symbolic"


async def score(sample: "Sample", means: "Means") -> float | None:
    """1 where it is equal."""
    if sample.answer is None:
        return None
    if means.symbolic is None:
        raise UnscoredError(NO_ALGEBRA)
    verdict = await asyncio.to_thread(by_rule, sample.answer, sample.prompt.key, means.symbolic.same)
    sample.why[NAME] = "by algebra" if verdict.by == "symbolic" else "by rule"
    return float(verdict.right)
