"""The reward of MPCC: how like the name behind the thought is to the right one, and the format.

    R = likeness + 0.6 * framed

Source: yjainqdc/MPCC-GRPO_with_prior_sample, train_script/reward_zoo.py, reward_CoMa_v1_func and format_reward_func.
"""

from importlib.util import find_spec
from typing import Any

from virc.rewards.context import NO_RAPIDFUZZ, RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply

TERMS = ("likeness", "framed")
whole = of_last_reply
_FRAMED = 0.6


def likeness(sample: Sample, context: RewardContext) -> float:
    """Share of the letters of both texts that stay where one is made the other, 0 to 1; 0 without a thought's end."""
    if find_spec("rapidfuzz") is None:
        raise UnscoredError(NO_RAPIDFUZZ)
    from rapidfuzz.distance import Indel

    _, end, answer = sample.text.rpartition("</think>")
    right = (sample.prompt.record.answer or "").partition("#")[0]
    said = answer.replace("<answer>", "").replace("</answer>", "").strip()
    return Indel.normalized_similarity(said, right) if end else 0.0


def framed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply begins with a marked thought and ends with a marked answer behind it: 1 or 0."""
    thought, end, behind = sample.text.removesuffix("\n").partition("</think>")
    inside = behind.partition("<answer>")[2]
    return float(thought.startswith("<think>") and bool(end) and inside.endswith("</answer>"))


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.likeness + _FRAMED * t.framed)
