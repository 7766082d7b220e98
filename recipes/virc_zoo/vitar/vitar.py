"""The reward of ViTAR: what its replies say, and whether they can be read.

    the sum over replies of 0.2 * acted, + right

    acted: 1 for a reply that ends with an answer, or else whose first action has boxes, each wider and higher than 0;
        0 behind a reply with an answer, and so is right
    right: whether the answer is that of the row, without regard to capitals, spaces and underscores

From 0 to 1.4, as there are two replies. Source: JLINEkai/ViTAR@1448fb2, verl/utils/reward_score/acc_reward.py, whose
result verl/workers/reward_manager/naive.py adds to the rewards of the tool,
verl/workers/agent/envs/mm_process_engine/visual_toolcrop.py. What differs:

- a reply that is cut at its limit of tokens has no `acted` there;
- a reply that answers and is no JSON ends a rollout there; here it is an error, and another follows, which is worth 0.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample

TERMS = ("acted", "right")
_END = re.compile(r'\{\s*"name"\s*:\s*"Terminate"\s*,\s*"arguments"\s*:\s*\{')
_KEY = re.compile(r'"answer"\s*:\s*"')
_ACTIONS = re.compile(r'"actions"\s*:\s*(?=\[)')


def acted(sample: Sample, context: RewardContext) -> float:
    """Whether the reply answers, or marks boxes: 1 or 0."""
    acts = answered(sample.text) is not None or marks(sample.text)
    return float(acts and not is_answered_before(sample))


def right(sample: Sample, context: RewardContext) -> float:
    """Whether the reply answers as the row does: 1 or 0."""
    said = None if is_answered_before(sample) else answered(sample.text)
    return float(said is not None and _normal(said) == _normal(sample.prompt.key.answer.strip()))


def is_answered_before(sample: Sample) -> bool:
    """Whether an earlier reply of the rollout answers, where the program ends it."""
    replies = (each.content for each in sample.prompt.record.messages if each.role == "assistant")
    return any(answered(reply) is not None for reply in replies)


def answered(reply: str) -> str | None:
    """The first answer of an action that ends, wherever it stands; None without one."""
    for end in _END.finditer(reply):
        close = reply.find("}", end.end())
        for key in _KEY.finditer(reply, end.end(), close if close >= 0 else len(reply)):
            quote = reply.find('"', key.end())
            if quote > key.end():
                return reply[key.end() : quote]
    return None


def marks(reply: str) -> bool:
    """Whether the first action of a reply has boxes that can be drawn; a list of none counts."""
    found = _ACTIONS.search(reply)
    if not found:
        return False
    try:
        action = json.JSONDecoder().raw_decode(reply, found.end())[0][0]
        boxes = action["arguments"]["box"]
        return all(left < right and top < bottom for left, top, right, bottom in boxes)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _normal(text: str) -> str:
    return text.replace(" ", "").replace("_", "").lower()


def total(t: Any) -> float:
    """The reward of one reply."""
    return float(0.2 * t.acted + t.right)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its replies together."""
    return sum(units)
