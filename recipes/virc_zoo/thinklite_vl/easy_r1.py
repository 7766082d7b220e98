r"""The reward of EasyR1 for mathematics: 0.9 * right + 0.1 * format, where the answer stands in the last \boxed{}.

The format is a <think> that begins the reply and ends, and behind it a box that ends. What stands in the last box is
compared by mathruler; where there is none, it is the word None. White space around <, > and / does not count. From 0
to 1.
Source: hiyouga/EasyR1@39cab8f, verl/utils/reward_score/math.py, later examples/reward_function/math.py, with mathruler
0.1.0. What differs: an answer that mathruler takes over two seconds of CPU for, or raises at, is wrong.
"""

from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.graders import boxed_equal
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "formed")
whole = of_last_reply


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether what stands in the last box is the right answer: 1 or 0."""
    return float(await boxed_equal(_closed_up(sample.text), sample.prompt.key.answer))


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply begins with a thought, and has a box behind it: 1 or 0."""
    return in_format(_closed_up(sample.text))


def in_format(text: str) -> float:
    """Whether a text begins with a thought, and has a box behind it: 1 or 0."""
    at = 0
    for mark in ("<think>", "</think>", r"\boxed{", "}"):  # the first of each is the best: no search of expressions
        at = text.find(mark, at) + len(mark)
        if at < len(mark):
            return 0.0
    return float(text.startswith("<think>"))


def _closed_up(text: str) -> str:
    for mark in "<>/":
        text = mark.join(part.strip() for part in text.split(mark))
    return text


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.9 * t.right + 0.1 * t.formed)
