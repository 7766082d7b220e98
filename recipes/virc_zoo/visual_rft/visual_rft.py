r"""The reward of Visual-RFT for detection: how well boxes match, how sure it is of the right ones, and the format.

An answer on one line is read as JSON, a list of objects with `Position` and `Confidence`; single quotes, `[[` and a
list that was cut off are put right, and whatever else is wrong in it makes both 0. The box of the highest confidence
takes the one that it overlaps most, if their IoU is over 0.5, then the next; a repeated position counts once.

    matching: the sum of the IoU of pairs, by the greater number of boxes
    confidence: the mean over the answer's boxes, of matched ones their confidence, of others 1 - confidence
    framed: 1 where the reply is <think>...</think> and behind it <answer>...</answer>

Where math-verify finds the same number in the whole reply and the whole solution, matching and confidence are 1
without a look at the boxes: of such lists it takes the second number of the first box.

From 0 to 3. Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py (arXiv:2503.01785, section 3.2). A row whose
solution holds no list, such as `No Objects`, is worth the format alone, as published. What differs: a confidence that
is no number (NaN) counts as 0; there the reward is none either.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Prompt, Sample
from virc.scoring import boxes as geometry
from virc_zoo.delimiters import on_one_line
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("framed", "matching", "confidence")
"""They stand below, in place of the common terms of the same names."""
whole = of_last_reply
_BEGIN, _BETWEEN, _END = "<think>", re.compile(r"</think>\s*<answer>"), "</answer>"
_MATCH = 0.5  # what the IoU of a matched pair must be over


def framed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a marked thought, and behind it a marked answer: 1 or 0."""
    text = sample.text
    between = _BETWEEN.search(text, len(_BEGIN)) if text.startswith(_BEGIN) else None
    return float(between is not None and text.endswith(_END, between.end()))


async def matching(sample: Sample, context: RewardContext) -> float:
    """How well the answer's boxes match the row's: the sum of IoU over 0.5, by the greater number, 0 to 1."""
    if await is_agreed(sample):
        return 1.0
    count, pairs = _matched(sample)
    return min(1.0, sum(overlap for overlap, _ in pairs) / max(count, len(pairs))) if pairs else 0.0


async def confidence(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is sure of the right boxes: mean confidence of matched ones, 1 - confidence of others."""
    if await is_agreed(sample):
        return 1.0
    _, pairs = _matched(sample)
    sure = [of if overlap else 1 - of for overlap, of in pairs]
    return min(1.0, max(0.0, sum(sure) / len(sure))) if sure else 0.0


async def is_agreed(sample: Sample) -> bool:
    """Whether math-verify finds the same number in the whole reply and the whole solution, as it was published."""
    return await texts_agree(sample.text, f"<answer>{sample.prompt.record.answer or ''}</answer>")


def answer_of(reply: str) -> str:
    """What stands between the marks of an answer on one line; without such an answer, all of the reply."""
    found = on_one_line(reply)
    return (reply if found is None else found).strip()


def _matched(sample: Sample) -> tuple[int, Sequence[tuple[float, float]]]:
    """How many boxes the row has; and of each of the answer's the IoU of its match, and its confidence.

    None of the answer's where it or the row's cannot be read, as far as they are compared.
    """
    try:
        left = dict(enumerate(_positions(sample.prompt)))
        listed = _listed(answer_of(sample.text).replace("[[", "[").replace("]]", "]").replace("\n", ""))
        if not isinstance(listed[0], dict):
            return 0, []
        count, distinct, pairs = len(left), dict[Any, Any](), list[tuple[float, float]]()
        for each in listed:
            distinct.setdefault(tuple(each["Position"]), each)
        for each in sorted(distinct.values(), key=lambda each: float(each["Confidence"] + 0), reverse=True):
            overlaps = {at: geometry.iou(box, _box(each)) for at, box in left.items()}
            best = max(overlaps, key=overlaps.__getitem__, default=-1)
            overlap = overlaps.get(best, 0.0)
            pairs.append((overlap if overlap > _MATCH else 0.0, _known(each["Confidence"])))
            if overlap > _MATCH:
                del left[best]
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return 0, []
    return count, pairs


def _positions(prompt: Prompt) -> list[geometry.Box]:
    """The boxes of the row in thousandths: of its answer as it was published, else of its column."""
    answer, boxes = prompt.record.answer or "", geometry.boxes_of_row(prompt.columns)
    if boxes is None and not answer:
        raise UnscoredError("the row has no boxes")
    if boxes is None or answer.lstrip().startswith("[{"):
        return [_box(each) for each in _listed(answer)]
    wide, high = prompt.original
    return [(1000 * a / wide, 1000 * b / high, 1000 * c / wide, 1000 * d / high) for a, b, c, d in boxes]


def _listed(answer: str) -> list[Any]:
    """The list that a text is, as far as it goes; raises ValueError where it is none."""
    text = answer.partition("</answer>")[0]
    if not text.endswith("]"):  # it was cut off
        text = text.rsplit("},", 1)[0] + "}]"
    found = json.loads(text.replace("'", '"'))
    if not isinstance(found, list):
        raise ValueError
    return found


def _box(written: Any) -> geometry.Box:
    left, top, right, bottom = written["Position"]
    return float(left + 0), float(top + 0), float(right + 0), float(bottom + 0)


def _known(confidence: float) -> float:
    return 0.0 if math.isnan(confidence) else float(confidence)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.matching + t.confidence)
