"""The outcome alone, by rules: whether the answer is right. For whole rollouts on rows without boxes, and no judge.

Source: our own; outcome rewards as in DeepSeek-R1 (arXiv:2501.12948), section 2.2. From -1 to 1.
"""

from typing import Any

TERMS = ("format", "answer")


def total(t: Any) -> float:
    """The reward of one unit: a look has none of its own."""
    if not t.format:
        return -1.0
    return float(t.answer) if t.turn == "answer" else 0.0
