"""The reward of Curr-ReFT's second stage: whether the chosen letters are the right ones, and the format. From 0 to 2.

The letters of an answer are A to E where no other letter is next to them, in either case, each once; those of the row
are right in their order only, and an answer without letters is right where the row's has none. A reply without a mark
of an answer is right where math-verify finds the same formula in it and in the solution.
Source: ding523/Curr_REFT@f123433, train_code/grpo/open-r1-multimodal/src/open_r1/Stage2_choice_math_resize.py,
iou_reward and format_reward.
"""

import re
from typing import TYPE_CHECKING, Any

from virc_zoo.curr_reft import curr_reft_judge
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("framed", "right")
whole = of_last_reply
framed = curr_reft_judge.framed
_LETTER = re.compile(r"(?<![A-Za-z])([A-E])(?![A-Za-z])")


async def right(sample: "Sample", means: "Means") -> float:
    """Whether the answer has the letters of the row's: 1 or 0."""
    said = curr_reft_judge.answer_of(sample.text)
    if said is None:
        return float(await texts_agree(sample.text, curr_reft_judge.solution(sample.prompt)))
    return float(letters(said) == letters(sample.prompt.key.answer))


def letters(text: str) -> list[str]:
    """The letters that a text chooses, each once."""
    return list(dict.fromkeys(_LETTER.findall(text.upper())))


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.right + t.framed)
