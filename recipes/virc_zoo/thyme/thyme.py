r"""The reward of Thyme: the answer, the form, and where the answer is right, whether the thought leads to it.

    max(right, 0) + 0.5 * formed, and where right > 0: + 0.5 * consistent

The terms are those of V-Thinker, whose program has Thyme's functions; code alone is worth nothing here, a wrong answer
0 (VQA_NORM of .deepspeed_env, as in 4.4 of the paper; -1 without that file). From 0 to 2.
Source: yfzhang114/Thyme@b9285b7a0c5f, examples/train/grpo/plugin/agent_rm.py (VQAORM, FMTORM, CSTORM) with the weights
of .deepspeed_env, which scripts/rl.sh names in this order, and swift/trainers/rlhf_trainer/grpo_trainer.py for what
counts only where the answer is right. What else differs is said in `v_thinker.py`.
"""

from typing import Any

from virc_zoo.rollouts import of_last_reply
from virc_zoo.v_thinker.v_thinker import consistent, formed, right

__all__ = ["TERMS", "consistent", "formed", "right", "total", "whole"]
TERMS = ("right", "formed", "consistent")
whole = of_last_reply


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(max(t.right, 0) + 0.5 * t.formed + (0.5 * t.consistent if t.right > 0 else 0.0))
