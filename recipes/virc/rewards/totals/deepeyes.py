"""The reward of DeepEyes: the answer, the format, and a look where the answer is right.

    0.8 * right + 0.2 * format, which is 0 or -1, + 1.2 where an image was shown and the answer is right

An answer of 1,000 characters or more is wrong, and not in the format. From -0.2 to 2. Source: Visual-Agent/DeepEyes,
verl/utils/reward_score/vl_agent.py. For mathematics it gives 1.2 * right + 0.4 * format: that is `{total: weighted,
weights: {answer: 1.2, format: 0.4}}` less 0.4, which no advantage of a group knows of.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("format", "answer", "tool_bonus", "brief")
_LONG = 1000


def brief(sample: "Sample", means: "Means") -> float | None:
    """Whether the answer has less than 1,000 characters."""
    return None if sample.answer is None else float(len(sample.answer) < _LONG)


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    if not t.format or t.brief == 0:
        return -0.2
    return float(0.8 * t.answer + 1.2 * t.tool_bonus) if t.turn == "answer" else 0.0


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its last reply."""
    return units[-1]
