r"""The reward of GLM-4.1V-Thinking: whether the answer is right, by the verifier of the row's `domain`. From 0 to 1.

A reply is a marked thought and a marked answer, each mark once, with one box at most and no \boxed{}; any other has 0,
and one with long paragraphs in Chinese and English. What the box has is right where it is the row's answer, else where
a judge says so, whom each domain asks in its own words. Counts are compared as numbers, too; `ocr` is worth the share
of letters that stay. Of all other domains no box is asked for, and the judge sees what stands behind the thought.
Source: zai-org/GLM-V@8fc9756, glmv_reward: reward_system.py, verifiers and configs/full_config.yaml. Its tolerances for
numbers are without effect, as strict sympify takes no text. What differs: the row's answer is bare; there nothing is
right of counting, which raises, of chart, which reads no answer, and of general by a judge, whose verdict is not read.
"""

import re
from pathlib import Path
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.question import asks, grade, published
from virc.rewards.sample import Sample
from virc.scoring.likeness import edit_similarity
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("verified",)
whole = of_last_reply
_FRAME = re.compile(r"<think>.*</think>(\s*<answer>(.*)</answer>)\n?", re.DOTALL | re.IGNORECASE)
_ONCE, _BOX = ("<think>", "</think>", "<answer>", "</answer>"), ("<|begin_of_box|>", "<|end_of_box|>")
_FILES = sorted(Path(__file__).parent.glob("judge-*.yaml"))
ASKED = {file.stem.removeprefix("judge-"): published(file, grade(0, 1)) for file in _FILES}


@asks(*ASKED.values())
async def verified(sample: Sample, context: RewardContext) -> float:
    """Whether the verifier of the row's domain finds the answer right: 1 or 0; of `ocr` 0 to 1."""
    text, right, domain = sample.text, sample.prompt.key.answer.strip(), str(sample.prompt.columns.get("domain"))
    low, is_boxed = text.lower(), domain == "ocr" or domain in ASKED.keys() - {"general"}
    found = _FRAME.fullmatch(text) if all(low.count(mark) == 1 for mark in _ONCE) else None
    if not found or mixed(text) or r"\boxed{" in low or any(low.count(mark) > 1 for mark in _BOX):
        return 0.0
    said = next(between(found[2], *_BOX), None if is_boxed else found[2])
    if said is None or domain == "ocr":
        return edit_similarity(*(re.sub(r"[\n ]", "", each) for each in (said, right))) if said else 0.0
    is_count = domain == "counting" and said.strip() and (said.strip() + right).isdecimal()
    if said.strip() == right or (is_count and said.strip().lstrip("0") == right.lstrip("0")):
        return 1.0
    question, shown = (ASKED[domain], said) if is_boxed else (ASKED["general"], found[1])
    asked = await question.asked(sample, context, "verified", answer=shown.strip(), reference=right)
    sample.why["verified"] = asked.why
    return asked.value or 0.0


def mixed(text: str) -> bool:
    """Whether one paragraph is Chinese, over 0.8 of 50 letters or more, and one English, over 0.7 of 200 words."""
    parts = [part.strip() for part in re.split(r"\n{2,}", text) if part.strip()]
    chinese = ((len(re.findall("[\u4e00-\u9fff]", part)), len(part)) for part in parts)
    english = ((len(re.findall(r"\b[a-zA-Z]{2,}\b", part)), len(part.split())) for part in parts)
    return any(n >= 50 and n > 0.8 * of for n, of in chinese) and any(n >= 200 and n > 0.7 * of for n, of in english)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.verified)
