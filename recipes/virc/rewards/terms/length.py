"""A price on long replies: 1 up to 512 tokens, then 512 / tokens, 0 to 1; in tokens of the model.

Systems differ in the 512: a total with another number has a function of its own that reads `tokens(sample, means)`.
Source: cythu/PeBR-R1, examples/reward_function/pebr_1.py, length_penalty, there of a tenth of the reward.
"""

from typing import TYPE_CHECKING

from virc.rewards.means import NO_TOKENS, UnscoredError

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "length"
_MOST = 512


def score(sample: "Sample", means: "Means") -> float:
    """The share of the reply that 512 tokens are, 1 at most."""
    return min(1.0, _MOST / max(1, tokens(sample, means)))


def tokens(sample: "Sample", means: "Means") -> int:
    """How many the reply has.

    Raises:
        UnscoredError: the model is not known here.
    """
    if means.tokens is None:
        raise UnscoredError(NO_TOKENS)
    return means.tokens(sample.text)
