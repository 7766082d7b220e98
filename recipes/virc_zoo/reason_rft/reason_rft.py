"""The reward of Reason-RFT for numbers and letters: whether the answer is the right text, and the format. 0 to 2.

The first marked answer counts, letter by letter but for the space around it. Without a marked answer all of the reply
does, and one that is right by rule or by algebra counts too. `framed` is that of `visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, accuracy_reward and format_reward, the rewards of
train/stage_rl/grpo.py where its scripts name none. What differs: without marks math-verify alone reads all of the
reply there; here the answer that it ends in counts, which may be a letter, or its last number.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.rewards.terms.answers import graded
from virc_zoo.delimiters import between
from virc_zoo.visual_rft import visual_rft

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("framed", "right")
"""They stand below."""
_NUMBER = re.compile(r"(?<!\S)-?\d+(?:[.,]\d+)*%?")  # as math-verify finds it, behind space
framed = visual_rft.framed


async def right(sample: "Sample", means: "Means") -> float:
    """Whether the answer is right: 1 or 0."""
    marked, key = next(between(sample.text), None), sample.prompt.key
    wanted = answer_of(key.answer)
    if answer_of(sample.text) == wanted:
        return 1.0
    if marked is not None:
        return 0.0
    for each in (sample.text, *_NUMBER.findall(sample.text)[-1:]):
        if await graded(each, sample, means):
            return 1.0
    return 0.0


def answer_of(text: str) -> str:
    """What stands in the first marks of an answer; without such marks all of the text."""
    return next(between(text), text).strip()


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.right)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply."""
    return units[-1]
