r"""The reward of AutoTool: that of DeepEyes, by the mode that a rollout opens with, and balanced between the modes.

    0.8 * right + 0.2 * format, which is 0 or -1, + factor * tool

A rollout that begins with <tool_on> must call, and its tool is worth 1 where an image came back and the answer is
right, -0.5 where one came back and it is wrong, else 0. One that begins with <tool_off> must not call, and its tool is
worth 1 where no image came back and the answer is right. Others, also those with white space before the mark, have the
format -1 and no worth of a tool.

The factor is 1.7 less the share of <tool_on> for the one mode, 0.7 and that share for the other; the share is that of
the rollouts that begin with either, behind white space too, and 0 where none does.

Source: MQinghe/AutoTool@fb0eb87, verl/utils/reward_score/vl_agent.py, compute_score with `autoToolv3`, and
verl/workers/reward_manager/naive.py. What differs, further than in `virc_zoo.deepeyes.deepeyes`:

- the share is that of the rollouts of one prompt, there of all prompts of the batch.
"""

from collections.abc import Sequence
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.deepeyes import deepeyes
from virc_zoo.rollouts import of_last_reply

TERMS = ("judged", "orderly", "viewed", "mode")
whole = of_last_reply
FACTOR = 1.2
"""Of the tool where both modes are as frequent: `basebf` of the published script."""
_WRONG = -0.5
_EVEN = 0.5
judged, viewed = deepeyes.judged, deepeyes.viewed


def orderly(sample: Sample, context: RewardContext) -> float:
    """0, or -1 where DeepEyes' form is broken, there is no mode, or the calls are not those of the mode."""
    text = deepeyes.completion(sample)
    opened, closed = text.count("<tool_call>"), text.count("</tool_call>")
    match mode(sample, context):
        case None:
            fits = False
        case 0.0:
            fits = opened + closed == 0
        case _:
            fits = opened == closed > 0
    return deepeyes.orderly(sample, context) if fits else -1.0


def mode(sample: Sample, context: RewardContext) -> float | None:
    """1 where the rollout begins with <tool_on>, 0 with <tool_off>; none elsewhere."""
    return _mode(deepeyes.completion(sample))


def _mode(text: str) -> float | None:
    if text.startswith("<tool_on>"):
        return 1.0
    return 0.0 if text.startswith("<tool_off>") else None


def worth_of_tool(t: Any) -> float:
    """What a rollout gets for its tool, before the factor: 1, 0 or -0.5."""
    right = (t.judged or 0.0) > _EVEN
    if t.mode == 1:
        return float((1.0 if right else _WRONG) * t.viewed)
    return float(t.mode == 0 and right and not t.viewed)


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply, with both modes as frequent."""
    return float(0.8 * (t.judged or 0.0) + 0.2 * t.orderly + FACTOR * worth_of_tool(t))


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards with more for the tool of the mode that fewer rollouts of the group chose."""
    modes = [found for t in ts if (found := _mode(t.reply_text.strip())) is not None]
    above_even = (sum(modes) / len(modes) if modes else 0.0) - _EVEN
    return [
        reward + (-above_even if t.mode else above_even) * worth_of_tool(t)
        for reward, t in zip(rewards, ts, strict=True)
    ]
