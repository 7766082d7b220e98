"""The reward of Reason-RFT for numbers and letters: whether the answer is the right text, and the format. 0 to 2.

The first marked answer counts, letter by letter but for the space around it. Without a marked answer all of the reply
does, and then it is also right where math-verify finds the same number in it and in the solution. `framed` is that of
`visual_rft`.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, accuracy_reward and format_reward, the rewards of
train/stage_rl/grpo.py where its scripts name none.
"""

from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "right")
whole = of_last_reply
framed = visual_rft.framed


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is right: 1 or 0."""
    solution = sample.prompt.key.answer
    if answer_of(sample.text) == answer_of(solution):
        return 1.0
    return float(next(between(sample.text), None) is None and await texts_agree(sample.text, solution))


def answer_of(text: str) -> str:
    """What stands in the first marks of an answer; without such marks all of the text."""
    return next(between(text), text).strip()


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.right)
