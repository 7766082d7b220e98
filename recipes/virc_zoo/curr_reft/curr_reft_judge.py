"""The reward of Curr-ReFT's first stage: whether yes or no is right, and the format. From 0 to 2.

The answer stands between its marks; where they do not end, it goes to the next <answer> or to the end. It is yes where
it has the word yes, true or correct, else no where it has no, false or incorrect, and with none of these it is wrong. A
row of mathematics is also right where math-verify finds the same formula in the whole reply and the whole solution.
Source: ding523/Curr_REFT@f123433, train_code/grpo/open-r1-multimodal/src/open_r1/Stage1_judge_math_resize.py,
iou_reward and format_reward.
"""

import re
from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Prompt, Sample
from virc_zoo.delimiters import between
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "right")
whole = of_last_reply
_BEGIN = "<answer>"
_THEN = re.compile(r"</think>\s*<answer>")
_BOX = re.compile(r"\[\d+,\s*\d+,\s*\d+,\s*\d+\]")
_YES = re.compile(r"(?<![a-z])(yes|true|correct)(?![a-z])")
_NO = re.compile(r"(?<![a-z])(no|false|incorrect)(?![a-z])")


def framed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a thought and an answer, which for rows of detection has a box in braces: 1 or 0."""
    if not visual_rft.framed(sample, context) or task(sample.prompt) != "detection":
        return visual_rft.framed(sample, context)
    inside = _THEN.split(sample.text, 1)[1].removesuffix("</answer>")
    start, stop = inside.find("{"), inside.rfind("}")
    return float(start >= 0 and _BOX.search(inside, start, max(start, stop)) is not None)


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer says yes or no as the row does: 1 or 0."""
    said = _yes_or_no(answer_of(sample.text) or "")
    if said is not None and said == _yes_or_no(sample.prompt.key.answer):
        return 1.0
    return float(task(sample.prompt) == "math" and await texts_agree(sample.text, solution(sample.prompt)))


def task(prompt: Prompt) -> str:
    """What a row asks for: `detection`, `classify`, `math` or `coco_vqa`."""
    if "task" not in prompt.columns:
        raise UnscoredError("needs the column task")
    return str(prompt.columns["task"])


def solution(prompt: Prompt) -> str:
    """The solution of a row, as it was published, with its thought."""
    return str(prompt.columns.get("whole_solution") or f"<answer>{prompt.key.answer}</answer>")


def answer_of(text: str) -> str | None:
    """What stands between the first marks of an answer, or from the first to the next or the end; None without one."""
    whole = next(between(text), None)
    if whole is None and _BEGIN in text:
        whole = text.split(_BEGIN)[1]
    return None if whole is None else whole.strip()


def _yes_or_no(text: str) -> bool | None:
    text = text.lower()
    return True if _YES.search(text) else False if _NO.search(text) else None


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.right + t.framed)
