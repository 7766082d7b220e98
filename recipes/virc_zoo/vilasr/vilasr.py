r"""The reward of ViLaSR: 0.5 * right + 0.5 * formed, and 0 where the answer is wrong. From 0 to 1.

    right: what stands in the first <answer> of the last reply, else all of it, is the row's answer, as a text where
        `question_type` is "multiple choice"; where it is "regression" or "numerical", the share of ten thresholds, 0.5,
        0.55 to 0.95, of which its relative error is under one less each; else 0
    formed: each reply is <think>...</think> and Action:, the last one alone has <answer> and </answer>, and each
        ```json block of them is a list of objects with a label, and with bbox_2d or both of start_point_2d and
        end_point_2d, as Python reads it

Source: AntResearchNLP/ViLaSR@61669c0, verl/utils/reward_score/gcot.py.
"""

import ast
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "formed")
whole = of_last_reply
_THRESHOLDS, _MOST = 10, 3.4e38
_NUMBER = re.compile(r"[-+]?\d*\.?\d+")
_ACTION = re.compile(r"</think>\s*Action:")
_THOUGHT, _FENCE = "<think>", "```"


def right(sample: Sample, context: RewardContext) -> float:
    """How near the answer is to the row's: 0 to 1."""
    kind = sample.prompt.columns.get("question_type")
    said, wanted = _answer(sample.text), _answer(sample.prompt.key.answer)
    if kind == "multiple choice":
        return float(said == wanted)
    numbers = [_NUMBER.search(text) for text in (said, wanted)]
    if kind not in ("regression", "numerical") or not all(numbers):
        return 0.0
    found, target = (_single(float(number[0])) for number in numbers if number)
    error = _single(_single(abs(found - target)) / _single(abs(target) + 1e-8))
    return sum(error < _single(1 - _single(0.5 + at * 0.05)) for at in range(_THRESHOLDS)) / _THRESHOLDS


def _single(number: float) -> float:
    """A number as a float of 32 bits, in which the program calculates: 0.1 is under 1 - 0.9 there."""
    return (
        math.copysign(math.inf, number)
        if abs(number) > _MOST
        else float(struct.unpack("f", struct.pack("f", number))[0])
    )


def _answer(text: str) -> str:
    return next(between(text), text).strip()


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the rollout up to this reply is in the format: 1 or 0."""
    before = [each.content for each in sample.prompt.record.messages if each.role == "assistant"]
    if any(mark in text for text in before for mark in ("<answer>", "</answer>")):
        return 0.0
    replies = [*before, sample.text]
    is_answer = "<answer>" in sample.text and "</answer>" in sample.text
    if not is_answer or not all(text.startswith(_THOUGHT) and _ACTION.search(text, len(_THOUGHT)) for text in replies):
        return 0.0
    return float(all(map(_are_marks, _blocks("".join(replies)))))


def _blocks(text: str) -> Iterator[str]:
    """What is behind each line that opens a block of JSON, up to the end of the block."""
    lines, start = text.splitlines(), 0
    whole = "\n".join(lines)
    for line in lines:
        start += len(line) + 1
        if line.strip() == f"{_FENCE}json":
            end = whole.find(_FENCE, start)
            yield whole[start : end if end >= 0 else None]


def _are_marks(block: str) -> bool:
    try:
        marks = ast.literal_eval(block)
        return all(
            "label" in each and ("bbox_2d" in each or {"start_point_2d", "end_point_2d"} <= {*each}) for each in marks
        )
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return 0.5 * float(t.right) + 0.5 * float(t.formed) if t.right > 0 else 0.0
