"""The reward of Curr-ReFT's third stage: a box, names, an answer or a sentence, and the format. From 0 to 2.

Which of them is right, 0 to 1, is by the row's `task`:

    detection   whether the last box of the answer overlaps the row's by an IoU over 0.5; the first where that is zeros;
                as published, an overlap of one pixel's width or height is none
    classify    names in both by names in either; what commas and white space part is a name
    math        whether math-verify finds the same formula in the whole reply and the whole solution, the answer has the
                same letters A to E, or one is in the other
    coco_vqa    1 where the cosine of both embeddings is over 0.95, 0.2 where it is over 0.9

The answer of detection and classify goes, where its marks do not end, to the next < or to the last character but one.
As published, an answer of mathematics without letters is right wherever the row's has no letters, be it wrong.
Source: ding523/Curr_REFT@f123433, train_code/grpo/open-r1-multimodal/src/open_r1/Stage3_open_math_resize.py, iou_reward
and format_reward. What differs: sentences are embedded by gte-large there, and here by the model that serves as the
judge `embedder`.
"""

import re
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc.scoring.boxes import Box, iou
from virc.scoring.likeness import set_overlap
from virc_zoo.curr_reft import curr_reft_choice, curr_reft_judge
from virc_zoo.delimiters import between
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("framed", "found", "named", "solved", "near")
whole = of_last_reply
framed = curr_reft_judge.framed
_NUMBER = r"(\s{0,9}-?\d{0,12}\.?\d{1,12}\s{0,9})"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_BETWEEN = re.compile(r"[,，、\s]+")
_BEGIN = "<answer>"
_MOST = 40_000  # characters of an answer in which boxes are looked for


def found(sample: Sample, context: RewardContext) -> float | None:
    """Whether the box overlaps the row's by an IoU over 0.5: 1 or 0; of rows of detection."""
    if curr_reft_judge.task(sample.prompt) != "detection":
        return None
    wanted = _boxes(sample.prompt.key.answer)
    if not wanted:
        raise DataError("the row's answer is no box of four numbers")
    said = _boxes(_cut(sample.text).replace(" ", ""))
    box = (said[-1] if any(said[-1]) else said[0]) if said else (0, 0, 0, 0)
    (left, top, right, bottom), (a, b, c, d) = box, wanted[0]
    is_thin = min(min(right, c) - max(left, a), min(bottom, d) - max(top, b)) <= 1
    return float(iou(box, wanted[0]) > 0.5 and not is_thin)


def named(sample: Sample, context: RewardContext) -> float | None:
    """Names in the answer and in the row's by names in either, 0 to 1; a list in brackets has 0; of rows of classes."""
    if curr_reft_judge.task(sample.prompt) != "classify":
        return None
    said = _cut(sample.text)
    return 0.0 if "[" in said else set_overlap(_names(said), _names(sample.prompt.key.answer))


async def solved(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right by math-verify, by its letters, or as a part of the row's: 1 or 0; of mathematics."""
    if curr_reft_judge.task(sample.prompt) != "math":
        return None
    right, said = sample.prompt.key.answer.strip(), curr_reft_judge.answer_of(sample.text)
    if said is not None:
        chosen, wanted = (curr_reft_choice.letters(text) for text in (said, right))
        if chosen == wanted or said in right or right in said:
            return 1.0
    return float(await texts_agree(sample.text, curr_reft_judge.solution(sample.prompt)))


async def near(sample: Sample, context: RewardContext) -> float | None:
    """1 where the embeddings of both answers have a cosine over 0.95, 0.2 over 0.9, else 0; of rows of coco_vqa."""
    if curr_reft_judge.task(sample.prompt) != "coco_vqa":
        return None
    said = next(between(sample.text), sample.text)
    like = await context.asked("embedder").similarity("near", said, sample.prompt.key.answer)
    sample.why["near"] = like.why
    return 1.0 if like.value > 0.95 else 0.2 if like.value > 0.9 else 0.0


def _cut(text: str) -> str:
    """The answer of detection and classification."""
    whole = next(between(text), None)
    if whole is None and _BEGIN in text:
        rest = text.partition(_BEGIN)[2].removesuffix("\n")
        end = rest.find("<")
        whole = rest[:end] if end >= 0 else rest[:-1]
    return (text if whole is None else whole).strip()


def _boxes(text: str) -> list[Box]:
    """The boxes of a text, in whole pixels."""
    corners = ([float(int(float(each))) for each in box] for box in _BOX.findall(text[-_MOST:]))
    return [(left, top, right, bottom) for left, top, right, bottom in corners]


def _names(text: str) -> list[str]:
    return [name for name in _BETWEEN.split(text) if name]


def total(t: Any) -> float:
    """The reward of the reply."""
    parts = [t.found, t.named, t.solved, t.near]
    return float(t.framed + sum(part for part in parts if part is not None))
