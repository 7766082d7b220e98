"""The reward of OpenThinkIMG: whether the last reply of a rollout is right: 1 or 0.

Right is a reply, or the answer in its action `Terminate`, that is the row's answer letter by letter, or in which
math-verify finds the same formula or number.
Source: zhaochen0110/OpenThinkIMG@45d295f, r1_v/open_r1/tool_grpo.py, accuracy_reward, the reward of its script where
none is named.
"""

import json
import re
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import on_one_line
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("right",)
whole = of_last_reply
_ACTIONS = re.compile(r'"actions"\s*:\s*(?=\[)')


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is right: 1 or 0."""
    solution, said = sample.prompt.key.answer, answered(sample.text)
    if await texts_agree(sample.text, solution):
        return 1.0
    found = on_one_line(solution)
    wanted = (solution if found is None else found).strip()
    answer = sample.text if said is None else said
    return float(answer == wanted or await texts_agree(answer, wanted))


def answered(reply: str) -> str | None:
    """The argument `ans` of the first action of a reply; None without it, or if an action lacks name or arguments."""
    found = _ACTIONS.search(reply)
    if not found:
        return None
    try:
        actions = [(each["name"], each["arguments"]) for each in json.JSONDecoder().raw_decode(reply, found.end())[0]]
        answer = actions[0][1].get("ans")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return answer if isinstance(answer, str) else None


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(t.right)
