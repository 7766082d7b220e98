"""The reward of VideoRFT: whether the answer is right, the format, whether the thought is like the frames, its length.

    R = right + framed + meant     + 0.2 for 320 to 512 tokens, if two of the group are right by more than 0.1

Right is by the row's `problem_type`: the same letter; the same number to two decimals, both with a point or comma or
neither; 1 less the word error rate; the mean of ROUGE-1, 2 and L; 1 less the relative error. The thought without its
first sentence is compared with each frame by the embeddings of SigLIP, and is worth 0 where the answer is.
Source: QiWang98/VideoRFT@bba6099, src/r1-v/src/open_r1/grpo.py, accuracy_reward, format_reward and semantic_reward, and
trainer/grpo_trainer.py, compute_loss. What differs: words are not stemmed; an answer of nan has no value; an empty
thought is like no frame; frames are as the model sees them, where that program shows SigLIP the negative of a video's.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.pictures import as_shown
from virc.rewards.question import asks
from virc.rewards.sample import Sample
from virc.rewards.terms.text import token_ids
from virc.scoring.likeness import rouge_l, word_error_rate
from virc_zoo.delimiters import between
from virc_zoo.lengths import window
from virc_zoo.rollouts import of_last_reply
from virc_zoo.videorft.rows import KINDS

TERMS = ("right", "framed", "meant", "length")
whole = of_last_reply
_SCALE = 2.0  # of a cosine
_BEGIN, _END = "<think>", "</answer>"
_MIDDLE = re.compile(r"</think>\s*<answer>")
_WORD = re.compile("[a-z0-9]+")
_MAX_WORDS = 2000
_TINY = 1e-9


def right(sample: Sample, context: RewardContext) -> float:
    """How right the first marked answer is, 0 to 1, by the row's kind."""
    said, wanted = next(between(sample.text), "").strip(), (sample.prompt.record.answer or "").strip()
    kind = sample.prompt.columns.get("problem_type")
    match kind:
        case "multiple choice":
            return float(said == wanted)
        case "numerical":
            both = [number for text in (said, wanted) if (number := _number(text)) is not None]
            pointed = {"." in text or "," in text for text in (said, wanted)}
            return float(len(both) == 2 and len(pointed) == 1 and round(both[0], 2) == round(both[1], 2))
        case "OCR":
            return max(0.0, 1 - word_error_rate(said, wanted))
        case "free-form":
            return _rouge(said, wanted)
        case "regression":
            number, goal = _number(said), _number(wanted)
            if (
                number is None
                or goal is None
                or math.isnan(error := (abs(number - goal) + _TINY) / (abs(goal) + _TINY))
            ):
                return 0.0
            return 1 - min(1.0, error)
    raise UnscoredError(f"needs the column problem_type, one of {', '.join(KINDS)}")


def framed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a marked thought and a marked answer: 1 or 0."""
    text = sample.text
    inside = text[len(_BEGIN) : -len(_END)] if text.startswith(_BEGIN) and text.endswith(_END) else ""
    return float(_MIDDLE.search(inside) is not None)


@asks()
async def meant(sample: Sample, context: RewardContext) -> float:
    """How like the frames the thought is: the mean of twice the cosines, 0 to 1; 0 of an answer that is worth 0."""
    if right(sample, context) <= 0:
        return 0.0
    thought = next(between(sample.text, _BEGIN, "</think>"), None)
    about = sample.text if thought is None else thought.partition(".")[2].lstrip() if "." in thought else thought
    shown = [as_shown(sample.prompt, number) for number in range(sample.prompt.view.given)]
    found = await asyncio.gather(*(context.asked().similarity("meant", about, frame) for frame in shown))
    return sum(min(1.0, _SCALE * max(each.value, 0.0)) for each in found) / max(1, len(found))


def length(sample: Sample, context: RewardContext) -> float:
    """The tokens of the reply, with the one that ends it."""
    return float(len(token_ids(sample, context)) + 1)


def total(t: Any) -> float:
    """The reward of one reply."""
    return float(t.right + t.framed + t.meant)


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards, more for right replies of some length where there are several."""
    is_right = [t.right > 0.1 for t in ts]
    paid = sum(is_right) > 1
    return [
        reward + (window(t.length) if paid and good else 0.0)
        for reward, t, good in zip(rewards, ts, is_right, strict=True)
    ]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _rouge(said: str, wanted: str) -> float:
    """The mean of ROUGE-1, ROUGE-2 and ROUGE-L, of unstemmed words."""
    one, other = (_WORD.findall(text.lower())[:_MAX_WORDS] for text in (said, wanted))
    grams = _f1(Counter(one), Counter(other)) + _f1(Counter(pairwise(one)), Counter(pairwise(other)))
    return (grams + rouge_l(said, wanted, _MAX_WORDS)) / 3


def _f1(one: Counter[Any], other: Counter[Any]) -> float:
    count = one.total() + other.total()
    return 2 * (one & other).total() / count if count else 0.0
