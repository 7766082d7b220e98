"""The reward of a whole rollout, of the rewards of its replies; see `virc.rewards.rollouts`."""

from collections.abc import Sequence
from typing import Any


def of_last_reply(units: Sequence[float], t: Any) -> float:
    """Return that of its last reply, which is its only one, or in which all of it counts."""
    return units[-1]
