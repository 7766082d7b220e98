"""The reward of Visual-RFT for detection: how well boxes match, how sure it is of the right ones, and the format.

From 0 to 3. Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py (arXiv:2503.01785, section 3.2). Its
classification has `answer` in the place of both, as `{total: weighted, weights: {answer: 1, format: 1}}`.
"""

from collections.abc import Sequence
from typing import Any

TERMS = ("format", "matching", "confidence")


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.format + (t.matching or 0.0) + (t.confidence or 0.0))


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply: what is not in the format has no point, and loses none."""
    return units[-1]
