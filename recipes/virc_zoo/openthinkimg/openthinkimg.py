"""The reward of OpenThinkIMG: whether the last reply of a rollout is right: 1 or 0.

Right is a reply, or the answer in its action `Terminate`, that is the row's answer letter by letter, or whose formula
or last number is the same; 12% is also 12.
Source: zhaochen0110/OpenThinkIMG@45d295f, r1_v/open_r1/tool_grpo.py, accuracy_reward, the reward of its script where
none is named. What differs: math-verify reads all of the text there, and takes the last number or formula of several
kinds; here it is asked about short texts and numbers alone.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from virc.scoring.rules import numbers_agree
from virc_zoo.delimiters import between

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("right",)
_NUMBER = re.compile(r"(?<![^\s=])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")  # as math-verify finds it
_ACTIONS = re.compile(r'"actions"\s*:\s*(?=\[)')


async def right(sample: "Sample", means: "Means") -> float:
    """Whether the reply is right: 1 or 0."""
    answer = sample.prompt.key.answer
    wanted = next(between(answer), answer).strip()
    said = answered(sample.text)
    if wanted == (sample.text if said is None else said):
        return 1.0
    same = means.symbolic.same if means.symbolic else _equal
    for one, other in _compared(sample.text, said or "", wanted):
        if await asyncio.to_thread(same, one, other):
            return 1.0
    return 0.0


def answered(reply: str) -> str | None:
    """The argument `ans` of the first action of a reply; None where it has none."""
    found = _ACTIONS.search(reply)
    if not found:
        return None
    try:
        actions = json.JSONDecoder().raw_decode(reply, found.end())[0]
        answer = actions[0]["arguments"].get("ans")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return answer if isinstance(answer, str) else None


def _compared(reply: str, said: str, wanted: str) -> Iterator[tuple[str, str]]:
    """What is compared: the texts, and their last numbers."""
    yield said, wanted
    for text in (reply, said):
        one, other = (_NUMBER.findall(each)[-1:] for each in (text, wanted))
        if one and other:
            yield one[0].replace(",", ""), other[0].replace(",", "")


def _equal(one: str, other: str) -> bool:
    """Whether two texts are the same number, where there is no algebra."""
    return bool(numbers_agree(one, other))


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(t.right)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its last reply."""
    return units[-1]
