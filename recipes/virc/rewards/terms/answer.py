"""Whether the answer is right: 1 or 0; of replies that answer only.

Source: in the published reward a judge decides alone. Ours asks it about what no rule and no algebra finds right, and
without a judge these decide.
"""

import asyncio
from typing import TYPE_CHECKING

from virc.rewards import published
from virc.scoring.score import score as by_rule

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "answer"


async def score(sample: "Sample", means: "Means") -> float | None:
    """1 where the answer is right; terms that need this too await it here, and the judge is asked once."""
    if means.judge is None:
        return await _score(sample, means)
    if NAME not in sample.asked:
        sample.asked[NAME] = asyncio.ensure_future(_score(sample, means))
    return await sample.asked[NAME]


async def _score(sample: "Sample", means: "Means") -> float | None:
    if sample.answer is None:
        return None
    answer, key = sample.answer, sample.prompt.key
    if means.judge is None or sample.prompt.strict == "own":
        verdict = by_rule(answer, key)
        if not verdict.right and means.symbolic:
            verdict = await asyncio.to_thread(by_rule, answer, key, means.symbolic.same)
        if verdict.right or means.judge is None:
            sample.why[NAME] = "by algebra" if verdict.by == "symbolic" else "by rule"
            return float(verdict.right)
    asked = {"question": sample.prompt.question, "reference": key.answer, "answer": answer}
    found = await means.judge.ask(NAME, asked, (), published.read_verdict)
    sample.why[NAME] = found.why
    return found.value
