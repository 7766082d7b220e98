"""The reward of Pixel Reasoner: the answer, and among the rollouts of a prompt more for looking where few do.

Of p, the share of rollouts that call a tool, a rollout that does so gets

    max(0.3 - p, 0) / 2 * 0.25 / p - 0.05 * (calls - 1)

Source: TIGER-AI-Lab/Pixel-Reasoner, curiosity_driven_rl/openrlhf/trainer/ppo_utils/experience_maker.py, for images; for
videos it divides by 1.5. An answer is worth 0 there where the last call failed; here a call that fails ends the
rollout. The port in TIGER-AI-Lab/verl-tool, verl_tool/workers/reward_manager/pixel_reasoner.py, gives 0.5 *
max(0.3 - p, 0) - 0.05 * (calls - 1), half of the bonus where p is 1/8.
"""

from collections.abc import Sequence
from typing import Any

TERMS = ("answer",)
_RATE = 0.3
_MOST = 0.25
_CALL = 0.05


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.answer or 0.0)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, before the group's: that of its answer."""
    return units[-1] if t.ended == "answer" else 0.0


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards with what is given for curiosity, and taken for calls after the first."""
    rate = sum(t.tool_calls > 0 for t in ts) / len(ts)

    def bonus(calls: int) -> float:
        return max(_RATE - rate, 0.0) / 2 * _MOST / rate - _CALL * (calls - 1) if calls else 0.0

    return [reward + bonus(t.tool_calls) for reward, t in zip(rewards, ts, strict=True)]
