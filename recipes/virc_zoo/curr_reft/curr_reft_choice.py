"""The reward of Curr-ReFT's second stage: whether the chosen letters are the right ones, and the format. From 0 to 2.

The letters of an answer are A to E where no other letter is next to them, in either case, each once; those of the row
are right in their order only, and an answer without letters is right where the row's has none. A reply without a mark
of an answer is right where math-verify finds the same formula in it and in the solution.
Source: ding523/Curr_REFT@f123433, train_code/grpo/open-r1-multimodal/src/open_r1/Stage2_choice_math_resize.py,
iou_reward and format_reward.
"""

import re

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.curr_reft import curr_reft_judge
from virc_zoo.graders import texts_agree

TERMS = curr_reft_judge.TERMS
framed, total, whole = curr_reft_judge.framed, curr_reft_judge.total, curr_reft_judge.whole
_LETTER = re.compile(r"(?<![A-Za-z])([A-E])(?![A-Za-z])")


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer has the letters of the row's: 1 or 0."""
    said = curr_reft_judge.answer_of(sample.text)
    if said is None:
        return float(await texts_agree(sample.text, curr_reft_judge.solution(sample.prompt)))
    return float(letters(said) == letters(sample.prompt.key.answer))


def letters(text: str) -> list[str]:
    """The letters that a text chooses, each once."""
    return list(dict.fromkeys(_LETTER.findall(text.upper())))
