"""The reward of Reason-RFT for changes of objects: the share of functions that are right, and the format. 0 to 2.

`functions` is that of `structure.items` with FULL: only functions with both arguments right count. Without a
marked answer all of the reply is read. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, only_full_func_accuracy_reward and format_reward: the
task trance-only-full of its scripts.
"""

from virc.rewards.means import Means
from virc.rewards.sample import Sample
from virc_zoo.reason_rft import reason_rft_partial
from virc_zoo.reason_rft.reason_rft import answer_of
from virc_zoo.structure import FULL, calls, items

TERMS = reason_rft_partial.TERMS
framed, total, whole = reason_rft_partial.framed, reason_rft_partial.total, reason_rft_partial.whole


def functions(sample: Sample, means: Means) -> float:
    """The share of functions that are right with both arguments, less where some are repeated: 0 to 1."""
    return items(calls(answer_of(sample.text)), calls(sample.prompt.key.answer), FULL)
