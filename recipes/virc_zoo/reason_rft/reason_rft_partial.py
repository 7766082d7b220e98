"""The reward of Reason-RFT for changes of objects, with credit for parts of functions, and the format. 0 to 2.

`functions` is that of `structure.items` with PARTIAL: half for a function with one right argument, a quarter
for the function alone. Without a marked answer all of the reply is read. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, func_accuracy_reward and format_reward: the task trance.
"""

from collections.abc import Callable, Sequence
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.reason_rft.reason_rft import answer_of
from virc_zoo.rollouts import of_last_reply
from virc_zoo.structure import PARTIAL, Level, calls, items
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "functions")
whole = of_last_reply
framed = visual_rft.framed


def worth(levels: Sequence[Level]) -> Callable[[Sample, RewardContext], float]:
    """The term with these levels of `structure.items`."""

    def functions(sample: Sample, context: RewardContext) -> float:
        """How much of the functions is right, less where some are repeated and what those right in part may cost."""
        return items(calls(answer_of(sample.text)), calls(sample.prompt.key.answer), levels)

    return functions


functions = worth(PARTIAL)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.functions)
