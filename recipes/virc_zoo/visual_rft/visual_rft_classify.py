"""The reward of Visual-RFT for names of fine classes: whether the name is right, and the format. 0 to 2.

A name is right that holds the row's answer, or that this holds; letters' case, spaces and `_` do not count. An empty
one is right by that too. Without an answer on one line, all of the reply is the name. It is also right where
math-verify finds the same number in the whole reply and the whole solution.
Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo_classification.py (arXiv:2503.01785).
"""

from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "named")
whole = of_last_reply
framed = visual_rft.framed


async def named(sample: Sample, context: RewardContext) -> float:
    """Whether the answer holds the right name, or is a part of it: 1 or 0."""
    right, found = _bare(sample.prompt.record.answer or ""), _bare(visual_rft.answer_of(sample.text))
    return float(right in found or found in right or await visual_rft.is_agreed(sample))


def _bare(name: str) -> str:
    return name.strip().replace(" ", "").replace("_", "").lower()


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.named)
