"""The reward of Actial: half of it for the right answer, half for a thought and an answer and nothing else. 0 to 1.

What stands in the first <answer>...</answer> is right where it is the row's answer letter by letter; without one it is
the word None. Case of the marks does not count.
Source: warmsnow-sh/Actial@32f46c3, verl/utils/reward_score/reward_custom.py, compute_score.
"""

import re
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "formed")
whole = of_last_reply
_THOUGHT = re.compile("<think>", re.IGNORECASE)
_BETWEEN = re.compile(r"</think>\s*<answer>", re.IGNORECASE)
_ANSWER = re.compile("<answer>", re.IGNORECASE)
_END = re.compile("</answer>", re.IGNORECASE)


def right(sample: Sample, context: RewardContext) -> float:
    """Whether the first answer is the row's, letter by letter: 1 or 0."""
    text, start = sample.text, _ANSWER.search(sample.text)
    end = _END.search(text, start.end()) if start else None
    said = text[start.end() : end.start()].strip() if start and end else "None"
    return float(said != "" and said == sample.prompt.record.answer)


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a thought and an answer, with white space alone around them: 1 or 0."""
    text = sample.text.strip()
    between = _BETWEEN.search(text, len("<think>")) if _THOUGHT.match(text) else None
    last = max(between.end(), len(text) - len("</answer>")) if between else 0
    return float(between is not None and _END.fullmatch(text, last) is not None)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.5 * t.right + 0.5 * t.formed)
