"""The reward of OpenVLThinker: whether the answer is right, and half of that where nothing stands before it.

What stands in the first <answer>...</answer> of one line is compared by mathruler, or all of the reply where there is
none; half is lost where the text between the last </think> and the <answer> behind it is empty. The format is measured
there, and not rewarded. From 0 to 1.
Source: yihedeng9/OpenVLThinker, train/easyr1/examples/reward_function/r1v.py, with mathruler 0.1.0. What differs: an
answer that mathruler takes over two seconds of CPU for is wrong.
"""

from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import on_one_line
from virc_zoo.graders import equal
from virc_zoo.rollouts import of_last_reply

TERMS = ("answer", "concluded")
"""The first stands below, in place of the common term of that name."""
whole = of_last_reply


async def answer(sample: Sample, context: RewardContext) -> float:
    """Whether what stands in the first marks of an answer, or the whole reply, is right: 1 or 0."""
    found = on_one_line(sample.text)
    said = (sample.text if found is None else found).strip()
    right = sample.prompt.record.answer  # an empty one is answered by an empty reply, as published
    right = sample.prompt.key.answer if right is None else right
    return float(await equal(said, right.strip()) or said.lower() == right.lower())


def concluded(sample: Sample, context: RewardContext) -> float:
    """0 where nothing stands between the last </think> and the <answer> behind it, else 1."""
    if "</think>" not in sample.text or "<answer>" not in sample.text:
        return 1.0
    return float(bool(sample.text.rpartition("</think>")[2].partition("<answer>")[0].strip()))


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.answer * (0.5 + 0.5 * t.concluded))
