"""The published reward of ViRC, for each unit: its answer, or its thought, its look and its choice of tool.

Source: arXiv:2512.14654v3 and Leon-LihongWang/ViRC, src/train/reward_for_scale_dynamic.py. From -1 to 1.
"""

from typing import Any

TERMS = ("format", "answer", "reasoning", "focus", "tool_choice")


def total(t: Any) -> float:
    """The reward of one unit."""
    if not t.format:
        return -1.0
    if t.turn == "answer":
        return float(0.8 * t.answer)
    return float(0.5 * t.reasoning + 0.4 * t.focus + 0.1 * t.tool_choice)
