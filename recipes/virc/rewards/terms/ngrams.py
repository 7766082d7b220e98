"""A penalty for words that come again and again in a reply: minus the share of its 6-grams that stood before, -1 to 0.

Systems differ in the 6: a total with another number has a function of its own that returns `penalty(sample.text, n)`.
Source: om-ai-lab/VLM-R1, grpo_jsonl.py (6); tongxiao2002/Perception-R1, verl/workers/reward/custom.py (20).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "ngrams"
_LENGTH = 6


def score(sample: "Sample", means: "Means") -> float:
    """The penalty with 6-grams."""
    return penalty(sample.text, _LENGTH)


def penalty(text: str, length: int) -> float:
    """-(1 - different / all) of the n-grams of so many words; 0 of a text with fewer words. Words have no case."""
    words = text.lower().split()
    grams = [*zip(*(words[at:] for at in range(length)), strict=False)]
    return len(set(grams)) / len(grams) - 1 if grams else 0.0
