"""The reward of ViRC as far as rules can give it, without a judge: thoughts and boxes are compared with a reference.

Its own reward, not a published one: rows must have boxes (see `overlap`), and thoughts count where they have a
reference reply. From -1 to 1.
"""

from typing import Any

TERMS = ("format", "answer", "thought", "overlap", "tool_choice")


def total(t: Any) -> float:
    """The reward of one unit."""
    if not t.format:
        return -1.0
    if t.turn == "answer":
        return float(0.8 * t.answer)
    return float(0.5 * (t.thought or 0.0) + 0.4 * t.overlap + 0.1 * t.tool_choice)
