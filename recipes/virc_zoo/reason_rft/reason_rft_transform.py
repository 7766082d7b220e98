"""The reward of Reason-RFT for changes of objects: the share of functions that are right, and the format. 0 to 2.

`functions` is that of `structure.items` with FULL: only functions with both arguments right count. Without a
marked answer all of the reply is read. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, only_full_func_accuracy_reward and format_reward: the
task trance-only-full of its scripts.
"""

from typing import TYPE_CHECKING, Any

from virc_zoo.reason_rft.reason_rft import answer_of
from virc_zoo.rollouts import of_last_reply
from virc_zoo.structure import FULL, calls, items
from virc_zoo.visual_rft import visual_rft

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("framed", "functions")
"""They stand below."""
whole = of_last_reply
framed = visual_rft.framed


def functions(sample: "Sample", means: "Means") -> float:
    """The share of functions that are right with both arguments, less where some are repeated: 0 to 1."""
    return items(calls(answer_of(sample.text)), calls(sample.prompt.key.answer), FULL)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.functions)
