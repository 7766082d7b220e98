"""A sum of terms, each times its weight, as a system's YAML says: `weights: {answer: 0.8, format: 0.2}, gate: format`.

A term that does not apply counts as 0. Where the gate is 0, or does not apply, there is no reward: 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TERMS = ()


def total(t: Any, weights: Mapping[str, float] = {}, gate: str | None = None) -> float:
    """The reward of one unit."""
    if gate and not getattr(t, gate):
        return 0.0
    return sum(weight * (getattr(t, name) or 0.0) for name, weight in weights.items())


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its answer. Without one there is none, but what counts against it stays."""
    return units[-1] if t.ended == "answer" else min(0.0, units[-1])
