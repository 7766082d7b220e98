"""The outcome alone, by rules: 1 where the answer is right. For whole rollouts on rows without boxes, and no judge.

A reply that cannot be used is worth no less than a wrong answer. Where it cost 1 and most answers were wrong, `tiny`
learnt to look half as often and to give up: fewer replies are fewer risks.

Source: our own; outcome rewards as in DeepSeek-R1 (arXiv:2501.12948), section 2.2. From 0 to 1.
"""

from collections.abc import Sequence
from typing import Any

TERMS = ("format", "answer")


def total(t: Any) -> float:
    """The reward of one unit: a look has none of its own."""
    return float(t.answer) if t.format and t.turn == "answer" else 0.0


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its answer."""
    return units[-1] if t.ended == "answer" else 0.0
