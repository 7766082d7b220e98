"""The reward of Reason-RFT for changes of objects, with a price on functions that are right in part. -0.5 to 2.

`functions` is that of `structure.items` with PENALTY: a function with one right argument costs a quarter, the
function alone a half. Without a marked answer all of the reply is read. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, penalty_func_accuracy_reward and format_reward: the task
trance-penalty.
"""

from typing import TYPE_CHECKING, Any

from virc_zoo.reason_rft.reason_rft import answer_of
from virc_zoo.rollouts import of_last_reply
from virc_zoo.structure import PENALTY, calls, items
from virc_zoo.visual_rft import visual_rft

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("framed", "functions")
"""They stand below."""
whole = of_last_reply
framed = visual_rft.framed


def functions(sample: "Sample", means: "Means") -> float:
    """The share of functions that are right, less those that are so in part: -0.5 to 1."""
    return items(calls(answer_of(sample.text)), calls(sample.prompt.key.answer), PENALTY)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.functions)
