r"""The reward of DeepEyesV2, as its program gives it: right or wrong, and the form.

    0.8 * right + 0.2 * formed
    0.8 * 0.9 * right + 0.2 * formed    in a row of search, if the rollout has a call

The column `data_source` names the kind of a row: perception, reason or search. Every term reads the completion: the
whole rollout as one text, results of tools included, in which each turn begins with <think>. The answer is the text
between the first <answer> and </answer> after the last thought. An answer of 300 characters or more is wrong and
malformed, except in rows of reason.
From 0 to 1. The questions to the judges stand in `judge.yaml`, and in `judge-reason.yaml` for rows of reason.
Source: Visual-Agent/DeepEyesV2@0373e6e, reinforcement_learning/verl/utils/reward_score/deepeyesv2.py, compute_score,
compute_score_math and compute_score_search. What differs: here an image is one mark in the completion; in the program
it is as many marks as it has tokens.
"""

import re
from pathlib import Path
from typing import Any

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("right", "formed", "searched")
whole = of_last_reply
KINDS = ("perception", "reason", "search")
_LONG = 300
_LEFT_OUT = (
    "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", r"\ldots", "sue", "points",
    "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples", r"\text{s}", r"\text{.}", "\\text{\ns}", r"\text{}^2", r"\text{}^3", "\\text{\n}",
    r"\text{}", r"\mathrm{th}", r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"', r"\dots",
)  # fmt: skip
_INSTEAD = (
    ("an ", ""), ("a ", ""), (".$", "$"), (r"\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text"), (r",\text{and}", ","),
    (r"\text{and}", ","), (r"\text{m}", r"\text{}"),
)  # fmt: skip
_SPELLINGS = (
    (r"\\text\{(.*?)\}", r"\1"), (r"\\textbf\{(.*?)\}", r"\1"),
    (r"\\overline\{(.*?)\}", r"\1"), (r"\\boxed\{(.*)\}", r"\1"), (r"frac([^{])(.)", r"frac{\1}{\2}"),
    (r"sqrt([^{])", r"sqrt{\1}"), (r"\$", ""),
)  # fmt: skip


def verdict(reply: str) -> float:
    """1 if the judge's reply has a Yes in its last box, or anywhere if it has no box; else 0."""
    text = reply.strip().rpartition("<最终结果>")[2].strip().partition("<\\最终结果>")[0].strip()
    if "boxed" in text:
        text = text.rpartition("boxed{")[2].strip().partition("}")[0].strip()
    return float("Yes" in text)


def equivalence(reply: str) -> float:
    """1 if the judge of rows of reason writes true and not false after its last heading, else 0."""
    text = reply.strip().rpartition("## Equivalence Judgement")[2].lower()
    return float("true" in text and "false" not in text)


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict)
OF_REASON = published(Path(__file__).with_name("judge-reason.yaml"), equivalence)


def kind_of(sample: Sample) -> str:
    """The kind of the row, one of `KINDS`. In a converted row `data_source` names the system instead."""
    columns = sample.prompt.columns
    return next((kind for name in ("published_data_source", "data_source") if (kind := columns.get(name)) in KINDS), "")


def completion(sample: Sample) -> str:
    """All text after the question, results of tools included; each turn of the model begins with <think>."""
    turns = [(message.role, message.content.replace(MARK, "<image>")) for message in before_reply(sample)]
    turns.append(("assistant", sample.text))
    return "".join(f"<think>{text.removeprefix('<think>')}" if role == "assistant" else text for role, text in turns)


def answer_of(text: str) -> str | None:
    """The text in the first answer marks after the last thought; None if there are none."""
    return next((each.strip() for each in between(_after_thoughts(text))), None)


def _after_thoughts(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


@asks(ASKED, OF_REASON)
async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the judge of DeepEyesV2 calls the answer right: 1 or 0; in rows of reason in one spelling."""
    answer, kind = answer_of(completion(sample)), kind_of(sample)
    if kind == "reason":
        spelled_answer = spelled(answer) if answer else ""
        if not spelled_answer or not sample.prompt.record.answer:
            return 0.0
        judged = await OF_REASON.asked(sample, context, "right", answer=spelled_answer)
    elif answer and len(answer) >= _LONG:
        return 0.0
    else:
        judged = await ASKED.asked(sample, context, "right", answer=str(answer))
    sample.why["right"] = judged.why
    return judged.value


def spelled(answer: str) -> str:
    """An answer without what stands before its last `=`, without units and words around it, and in one spelling.

    The rules are those of Lewkowycz et al. (arXiv:2206.14858), appendix D.1.
    """
    answer = answer.rpartition("=")[2]
    for before, after in (*_INSTEAD, *((each, "") for each in _LEFT_OUT)):
        answer = answer.replace(before, after)
    answer = "\n".join(f"${line.split('$')[1]}$" if line.count("$") > 1 else line for line in answer.split("\n"))
    for pattern, after in _SPELLINGS:
        answer = re.sub(pattern, after, answer)
    whole = answer.replace(",", "")
    return (whole if whole.isdigit() else answer).strip()


def formed(sample: Sample, context: RewardContext) -> float:
    """1 if there is an answer, and thoughts, code, calls and the answer have as many closing as opening marks."""
    text, kind = completion(sample), kind_of(sample)
    answer, ending = answer_of(text), _after_thoughts(text)
    tags = ("think", "code", "tool_call") if kind == "search" else ("think", "code")
    paired = all(_paired(text, tag) for tag in tags) and _paired(ending, "answer")
    short = kind == "reason" or len(answer or "") < _LONG
    return float(paired and "</think>" in text and bool(answer) and short)


def _paired(text: str, tag: str) -> bool:
    return text.count(f"<{tag}>") == text.count(f"</{tag}>")


def searched(sample: Sample, context: RewardContext) -> float:
    """Whether there is a call in a row of search: 1 or 0."""
    return float(kind_of(sample) == "search" and "<tool_call>" in completion(sample))


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.8 * t.right * (0.9 if t.searched else 1.0) + 0.2 * t.formed)
