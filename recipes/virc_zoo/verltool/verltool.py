r"""The reward of VerlTool's visual part: the answer, more for looking where few do, and less for each further look.

Of p, the share of rollouts of a prompt with a call that was carried out, such a rollout gets, right or wrong,

    0.5 * max(0.3 - p, 0) - 0.05 * (calls - 1)

An answer is right where math-verify finds one of the row's in all that was written and shown, or in that in lower case.
Source: TIGER-AI-Lab/verl-tool@980962b, verl_tool/workers/reward_manager/pixel_reasoner.py.
"""

from collections.abc import Sequence
from typing import Any

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.graders import texts_agree
from virc_zoo.pixel_reasoner.pixel_reasoner import normalized, references
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("right",)
whole = of_last_reply
_RATE, _MOST, _CALL = 0.3, 0.5, 0.05


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is right: 1 or 0."""
    said = [f"{each.role}\n{each.content.replace(MARK, '')}\n" for each in before_reply(sample)]
    text = normalized("".join([*said, f"assistant\n{sample.text}"]).removeprefix("assistant\n"))
    for answer in references(sample):
        boxed = normalized(answer) if r"\boxed" in answer else rf"\boxed{{{answer}}}"
        if await texts_agree(text, boxed) or await texts_agree(text.lower(), boxed.lower()):
            return 1.0
    return 0.0


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply, before the group's."""
    return float(t.right)


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards with what is given for curiosity, and taken for calls after the first."""
    calls = [t.tool_calls - (t.turn == "tool") for t in ts]  # one that the last reply writes is not carried out there
    curious = _MOST * max(_RATE - sum(each > 0 for each in calls) / len(ts), 0.0)
    bonuses = (curious - _CALL * (each - 1) if each else 0.0 for each in calls)
    return [reward + bonus for reward, bonus in zip(rewards, bonuses, strict=True)]
