"""The reward of Reason-RFT for changes of objects, with a price on functions that are right in part. -0.5 to 2.

`functions` is that of `structure.items` with PENALTY: a function with one right argument costs a quarter, the
function alone a half. Without a marked answer all of the reply is read. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, penalty_func_accuracy_reward and format_reward: the task
trance-penalty.
"""

from virc.rewards.means import Means
from virc.rewards.sample import Sample
from virc_zoo.reason_rft import reason_rft_partial
from virc_zoo.reason_rft.reason_rft import answer_of
from virc_zoo.structure import PENALTY, calls, items

TERMS = reason_rft_partial.TERMS
framed, total, whole = reason_rft_partial.framed, reason_rft_partial.total, reason_rft_partial.whole


def functions(sample: Sample, means: Means) -> float:
    """The share of functions that are right, less those that are so in part: -0.5 to 1."""
    return items(calls(answer_of(sample.text)), calls(sample.prompt.key.answer), PENALTY)
