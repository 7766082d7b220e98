"""The reward of Chain-of-Focus: 0.9 * answer + 0.1 * format, and among the rollouts of a prompt more for not looking.

AGAR, the adaptive rewards of a group: where a rollout without a look is right, such are worth 1, right ones with looks
0.8; where none is, right ones with looks are worth 1. Wrong ones with looks are always worth 0.5, wrong ones without 0,
or 0.1 where they are in the format. A group of one stays as it is.

Source: xtong-zhang/Chain-of-Focus, verl/verl/trainer/ppo/core_algos.py, compute_grpo_outcome_advantage, which takes for
right what has over 0.5, and recipe/zoomin/zoomin_reward3.py. A reply is there with looks where it writes <tool_call>;
here where a call was taken. Its paper (arXiv:2505.15436) tells of outcome and format only.
"""

from collections.abc import Sequence
from typing import Any

TERMS = ("format", "answer")


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(0.9 * (t.answer or 0.0) + 0.1 * t.format) if t.turn == "answer" else 0.0


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, before the group's: that of its answer."""
    return units[-1] if t.ended == "answer" else 0.0


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards by what others of the group got without a look."""
    if len(rewards) < 2:
        return list(rewards)
    direct = any(reward > 0.5 and not t.tool_calls for reward, t in zip(rewards, ts, strict=True))

    def worth(reward: float, looks: int) -> float:
        if reward > 0.5:
            return 0.8 if looks and direct else 1.0
        return 0.5 if looks else 0.1 if reward == 0.1 else 0.0

    return [worth(reward, t.tool_calls) for reward, t in zip(rewards, ts, strict=True)]
