r"""The reward of GRIT: the judge, the words of the answer, boxes in the thought, tags in order, and no repetition.

    judged + 0.1 * worded + 0.5 * answered + 0.5 * boxed + counted + 0.5 * ordered + 0.5 * varied

    judged: 1 if the judge's score of the answer is over 0
    worded: BLEU of single words of all text after the first <answer>, with the penalty for short texts
    answered: 1 if the reply has <answer> once, 0.5 if more often
    boxed: 1 if four numbers with commas come before the first <rethink>
    counted: in rows of TallyQA, 1 if there are as many such boxes as the row's answer says
    ordered: a fifth for each of <think>, </think>, <rethink> and </rethink> that comes after the one found before it,
        and a fifth for a thought of two or more words if all four are there
    varied: 1, less the share of places at which eight words are followed by the same eight words, less that share
        for tokens; 1 for a reply of fewer than 8 words or 16 tokens

From -0.5 to 4.1. The question to the judge stands in `judge.yaml`.
Source: eric-ai-lab/GRIT, grpo-gr/rewards.py, and GRPO_GRTrainer.py for the threshold of the judge. What differs:

- tokens are made of the reply's text; the program takes those that the model wrote, which may be others;
- each row says whether it is one of TallyQA; in the program the first row of a batch (of one) does;
- virc waits for a judge that does not answer; the program gives a score of 0.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc.rewards.terms.text import token_ids
from virc_zoo.rollouts import of_last_reply

TERMS = ("judged", "worded", "answered", "boxed", "counted", "ordered", "varied")
whole = of_last_reply
JUDGE = "grit"
"""What its judge is asked for."""
_TAGS = ("<think>", "</think>", "<rethink>", "</rethink>")
_BOX = re.compile(r"\b\d+,\s*\d+,\s*\d+,\s*\d+\b")
_NO_LETTERS = re.compile(r"[^a-zA-Z0-9\s]")
_RUN = 8
_END = -1
"""In place of the id of the token that ends a turn, which the program puts behind the ids of a reply."""
_MOST_IDS = 1000  # scripts/train_base_config.sh, max_completion_length


def verdict(reply: str) -> float | None:
    """Whether the number in the five characters behind the last `score` is over 0; None where there is none."""
    plain = re.sub(r"[^\w\s.]", "", reply.strip().lower())
    digits = re.sub(r"[^\d.]", "", plain.rpartition("score")[2][:5])
    try:
        return 1.0 if float(digits) > 0 else 0.0
    except ValueError:
        return None


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict, tries=3)


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float:
    """1 if the judge scores the text after the first <answer> over 0; else 0, as without one and in rows of OVD."""
    _, marked, after = sample.text.partition("<answer>")
    if not marked or "ovd" in _set(sample):
        return 0.0
    result = await ASKED.asked(sample, context, JUDGE, answer=after.partition("</answer>")[0])
    sample.why["judged"] = result.why
    return result.value or 0.0


def worded(sample: Sample, context: RewardContext) -> float:
    """BLEU of single words of all text behind the first <answer>, 0 to 1, without letter case and signs.

    Source: Papineni et al., BLEU (2002), as `sentence_bleu` of NLTK has it with the weights 1, 0, 0, 0.
    """
    said, right = (_words(text) for text in (sample.text.partition("<answer>")[2], sample.prompt.record.answer or ""))
    if not said:
        return 0.0
    share = (Counter(said) & Counter(right)).total() / len(said)
    return share * min(1.0, math.exp(1 - len(right) / len(said)))


def answered(sample: Sample, context: RewardContext) -> float:
    """1 where <answer> stands in the reply once, 0.5 where more often, else 0."""
    return {0: 0.0, 1: 1.0}.get(sample.text.count("<answer>"), 0.5)


def boxed(sample: Sample, context: RewardContext) -> float:
    """Whether a box stands before the first <rethink>: 1 or 0."""
    return float(bool(_boxes(sample.text)))


def counted(sample: Sample, context: RewardContext) -> float | None:
    """1 if there are as many boxes as the answer says, else 0; None for rows that are not of TallyQA."""
    if _set(sample) != "tallyqa":
        return None
    try:
        right = int(sample.prompt.record.answer or "")
    except ValueError:
        raise DataError("the answer of a row of TallyQA is no whole number") from None
    boxes = _boxes(sample.text)
    return float(boxes is not None and boxes == right)


def ordered(sample: Sample, context: RewardContext) -> float:
    """How many tags come in order, and whether a thought of two words is between the first two: 0 to 1 in fifths."""
    rest, points = sample.text, 0
    for tag in _TAGS:
        _, marked, after = rest.rpartition(tag)
        if marked:
            rest, points = after, points + 1
    thought = sample.text.rpartition("<think>")[2].partition("</think>")[0].strip()
    has_two_words = len(thought) > 1 and " " in _NO_LETTERS.sub(" ", thought)
    if points == len(_TAGS) and has_two_words:
        points += 1
    return points / (len(_TAGS) + 1)


def varied(sample: Sample, context: RewardContext) -> float:
    """1, less how often eight words are repeated at once, less how often eight tokens are: -1 to 1."""
    words = sample.text.split()
    ids = [*token_ids(sample, context), _END][:_MOST_IDS]
    if len(words) < _RUN or len(ids) < 2 * _RUN:
        return 1.0
    return 1 - _repeats(words) / max(1, len(words) - _RUN) - _repeats(ids) / (len(ids) - 2 * _RUN + 1)


def total(t: Any) -> float:
    """The reward of the reply."""
    marks = 0.5 * (t.answered + t.boxed + t.ordered + t.varied)
    return float(t.judged + 0.1 * t.worded + (t.counted or 0.0) + marks)


def _set(sample: Sample) -> str:
    """The set that a row is of."""
    return str(sample.prompt.columns.get("dataset", ""))


def _words(text: str) -> list[str]:
    return _NO_LETTERS.sub(" ", text).lower().split()


def _boxes(text: str) -> int | None:
    """How many boxes stand before the first <rethink>; None without it."""
    before, marked, _ = text.partition("<rethink>")
    return len(_BOX.findall(before)) if marked else None


def _repeats(parts: Sequence[object]) -> int:
    """At how many places eight parts are followed by the same eight."""
    starts = range(len(parts) - 2 * _RUN + 1)
    return sum(parts[start : start + _RUN] == parts[start + _RUN : start + 2 * _RUN] for start in starts)
