r"""The reward of EasyR1 for mathematics: 0.9 * right + 0.1 * format, where the answer stands in the last \boxed{}.

The format is a <think> that begins the reply and ends, and behind it a box that ends. What stands in the last box is
compared by rule and by algebra; where there is none, it is the word None. White space around <, > and / does not count.
From 0 to 1.
Source: hiyouga/EasyR1@39cab8f, verl/utils/reward_score/math.py, later examples/reward_function/math.py. It compares by
`grade_answer` of mathruler, with which ours disagrees

- about numbers: 2/4, 50 % and 0.5 are not 1/2 there;
- about units: 7 ft is not 7 feet there, 7 m is; here a unit may be missing and may not be another;
- about dress: `B.`, `B. 12` and `option B` are not B there, nor is `No` the same as `No.`;
- about formulas: 2√3 is no formula there, 13 and 12 are not 12 and 13, and y = 4 is x = 4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.rewards.published import boxed
from virc.rewards.terms.answers import graded

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("right", "formed")


async def right(sample: "Sample", means: "Means") -> float:
    """Whether what stands in the last box is the right answer: 1 or 0."""
    return await in_last_box(_closed_up(sample.text), sample, means)


async def in_last_box(text: str, sample: "Sample", means: "Means") -> float:
    """Whether what stands in the last box of a text is the right answer: 1 or 0."""
    found = boxed(text)
    # without a box it is right where the answer is the word None, as published
    return await graded("None" if found is None else found, sample, means)


def formed(sample: "Sample", means: "Means") -> float:
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


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply."""
    return units[-1]
