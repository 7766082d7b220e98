"""The reward of AdaReasoner for web pages and visual search: 8 if it is right, else what its calls are worth.

0 unless there are one <response>, as many closing as opening marks, and a <think> for it and for each call. Calls have
their mean, without replies at the end that make none: 4, or 3.5 without a box, 3 without the image, 2 and the share of
right names of arguments, 1 without the tool, 0 without a call. Source: ssmisya/AdaReasoner@19c799d, AdaTG/verl,
utils/reward_score/unified_tool.py and workers/agent/parallel_env.py.
"""

from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import CallResult, Sample
from virc_zoo.deepeyes.deepeyes import completion
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS, whole, _KEYS = ("judged", "formed", "called"), of_last_reply, {"image", "coordinates"}
ASKED = published(Path(__file__).with_name("judge.yaml"), lambda reply: float("1" in reply.split("Judgement:")[-1]))


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float | None:
    """Whether the judge calls it right: 1 or 0. Raises DataError: the row has a task that no judge grades."""
    if (task := sample.prompt.columns.get("ability")) in ("forzenlake", "visual_reasoning"):
        raise DataError(f"rows of AdaReasoner of the ability {task!r} need tools that are not here")
    if not formed(sample, context):
        return None
    said = next(between(completion(sample), "<response>", "</response>"), "")
    return (await ASKED.asked(sample, context, "adareasoner", answer=said.strip())).value


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether its marks are in order: 1 or 0."""
    text, marks = completion(sample), ("think", "tool_call", "response")
    opened, closed = ([text.count(f"<{end}{mark}>") for mark in marks] for end in ("", "/"))
    return float(opened == closed and opened[2] == 1 and opened[0] == opened[1] + 1)


def called(sample: Sample, context: RewardContext) -> float:
    """What its calls are worth: 0 to 4."""
    worth = [*map(_worth, sample.calls)]
    while worth and not worth[-1]:
        worth.pop()
    return sum(worth) / max(len(worth), 1)


def _worth(action: CallResult) -> float:
    if not action.tool or action.tool.name != "crop_padded":
        return float(action.tool is not None)
    if (written := {*action.tool.arguments}) != _KEYS:
        return 2 + len(written & _KEYS) / len(written | _KEYS)
    return 4.0 if not action.fault else 3.0 if action.fault.startswith("{'text'") else 3.5  # as told in `error_texts`


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(t.formed and (8 if t.judged else t.called))
