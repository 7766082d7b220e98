r"""The reward of Perception-R1: the answer, the form, facts of the picture that a judge finds stated, less repetition.

    0.9 * right + 0.1 * formed + 0.7 * stated + 2 * varied

    right: 1 where math-verify finds the row's answer in the first <answer> of one line, or in all of the reply if there
        is none, as where the form below, with its line breaks, is kept
    formed: 1 where the reply is `<think>`, `</think>`, `<answer>` and `</answer>` with a line break around each part
        and a box in the last
    stated: the mean of the judge's numbers, each cut to 0 to 1, one for each fact of the row's `visual_key_info`; 0 of
        a row without facts
    varied: minus the share of 20-grams of words that occurred before

From -2 to 1.7. The question to the judge stands in `judge.yaml`.
Source: tongxiao2002/Perception-R1@c47eaf2, verl/workers/reward/custom.py, verl/utils/reward_score/boxed_math_verify.py
and math_with_visual.py, with the weights of examples/run_qwen2_5_vl_7b_geo3k_visual_swanlab.sh. What differs:

- a judge that is away is waited for, there that ends the run; it sees 8,000 characters of a reply, there all of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc.rewards.terms.text import penalty
from virc_zoo.delimiters import on_one_line
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "formed", "stated", "varied")
whole = of_last_reply
_BEGIN, _BETWEEN, _END = "<think>\n", "\n</think>\n<answer>\n", "\n</answer>"
_BOX = r"\boxed{"
_FACTS = "visual_key_info"
_NGRAM = 20
_ADDED = 1e-6
"""What the program adds to the number of facts, so as not to divide by 0."""


def share(reply: str) -> float | None:
    """The mean of the numbers in <info1>, <info2> and so on of a judge's reply, each the last of its name."""
    found = [*_numbers(reply)]
    return sum(found) / (len(found) + _ADDED) if found else None


def _numbers(reply: str) -> Iterator[float]:
    """Each number from 0 to 1, by its name's order up to the first name that is missing; 0 for what is none."""
    number = 1
    while said := _last(reply, f"<info{number}>", f"</info{number}>"):
        try:
            yield max(0, min(1, float(said)))
        except ValueError:
            yield 0.0
        number += 1


def _last(text: str, start: str, end: str) -> str:
    """The text between the last `start` that has some text and an `end` behind it, and that `end`; empty without."""
    at = text.rfind(start, 0, max(0, text.rfind(end) - 1)) + len(start)
    return text[at : text.find(end, at + 1)] if at >= len(start) else ""


ASKED = published(Path(__file__).with_name("judge.yaml"), share)


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is right: 1 or 0."""
    marked = on_one_line(sample.text)
    said = (sample.text if marked is None else marked).strip()
    return float(await texts_agree(sample.prompt.key.answer.strip(), said))


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a thought and an answer with a box, each between its marks on lines of their own: 1 or 0."""
    text, at = sample.text, len(_BEGIN)
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        return 0.0
    for mark, least in ((_BETWEEN, 0), (_BOX, 0), ("}", 1)):  # the first of each is the best: no search of expressions
        found = text.find(mark, at + least)
        at = found + len(mark)
        if found < 0:
            return 0.0
    return float(at <= len(text) - len(_END))


@asks(ASKED)
async def stated(sample: Sample, context: RewardContext) -> float:
    """The share of the row's facts that the judge finds in the reply: 0 to 1."""
    if not sample.prompt.columns.get(_FACTS):
        return 0.0
    found = await ASKED.asked(sample, context, "stated")
    sample.why["stated"] = found.why
    return found.value


def varied(sample: Sample, context: RewardContext) -> float:
    """Minus the share of the reply's 20-grams that occurred before: -1 to 0."""
    return penalty(sample.text, _NGRAM)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.9 * t.right + 0.1 * t.formed + 0.7 * t.stated + 2 * t.varied)
