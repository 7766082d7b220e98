r"""The reward of DeepEyesV2, as its program gives it: right or wrong, and the form.

    0.8 * right + 0.2 * formed, and in a row of search with a call of one: 0.8 * 0.9 * right + 0.2 * formed

The column `data_source` says what a row is of: perception, reason or search. All of it is of the completion as one
text, with the results of tools, in which each turn begins with <think>. The answer is what stands between the first
<answer> and </answer> behind the last thought; one of 300 characters or more is wrong, and not in form, but in rows of
reason.
From 0 to 1. The questions to the judges stand in `judge.yaml`, and in `judge-reason.yaml` for rows of reason.
Source: Visual-Agent/DeepEyesV2@0373e6e, reinforcement_learning/verl/utils/reward_score/deepeyesv2.py, compute_score,
compute_score_math and compute_score_search. What differs: an image is one mark in the completion, there as many as it
has tokens.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virc.data.rows.record import MARK
from virc.rewards.delimiters import between
from virc.rewards.question import asks, published

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("right", "formed", "searched")
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
    """1 or 0, as the program reads the judge's reply: whether there is a Yes in its last box, or without one at all."""
    said = reply.strip().rpartition("<最终结果>")[2].strip().partition("<\\最终结果>")[0].strip()
    if "boxed" in said:
        said = said.rpartition("boxed{")[2].strip().partition("}")[0].strip()
    return float("Yes" in said)


def equivalence(reply: str) -> float:
    """1 where the judge of rows of reason says true and not false behind its last heading, else 0."""
    said = reply.strip().rpartition("## Equivalence Judgement")[2].lower()
    return float("true" in said and "false" not in said)


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict)
OF_REASON = published(Path(__file__).with_name("judge-reason.yaml"), equivalence)


def kind_of(sample: "Sample") -> str:
    """What the row is of, of `KINDS`; a converted row has the name of its system in `data_source`."""
    columns = sample.prompt.columns
    return next((kind for name in ("published_data_source", "data_source") if (kind := columns.get(name)) in KINDS), "")


def completion(sample: "Sample") -> str:
    """What the model wrote and was shown behind the question, as one text; each turn of the model begins a thought."""
    messages = sample.prompt.record.messages
    start = next((at for at, message in enumerate(messages) if message.role == "assistant"), len(messages))
    told = [each if each.role != "assistant" else None for each in messages[start:]]
    texts = [each.content.replace(MARK, "<image>") for each in messages[start:]] + [sample.text]
    return "".join(
        text if at < len(told) and told[at] else f"<think>{text.removeprefix('<think>')}"
        for at, text in enumerate(texts)
    )


def answer_of(text: str) -> str | None:
    """What stands in the first marks of an answer behind the last thought; None without."""
    return next((each.strip() for each in between(_behind(text))), None)


def _behind(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


@asks(ASKED, OF_REASON)
async def right(sample: "Sample", means: "Means") -> float:
    """Whether the judge of DeepEyesV2 calls the answer right: 1 or 0; in rows of reason in one spelling."""
    answer, kind = answer_of(completion(sample)), kind_of(sample)
    if kind == "reason":
        said = spelled(answer) if answer else ""
        if not said or not sample.prompt.record.answer:
            return 0.0
        found = await OF_REASON.asked(sample, means, "right", answer=said)
    elif answer and len(answer) >= _LONG:
        return 0.0
    else:
        found = await ASKED.asked(sample, means, "right", answer=str(answer))
    sample.why["right"] = found.why
    return found.value


def spelled(answer: str) -> str:
    """An answer without what stands before its last `=`, without units and words around it, and in one spelling.

    The rules are those of Lewkowycz et al. (arXiv:2206.14858), appendix D.1.
    """
    answer = answer.rpartition("=")[2]
    for before, after in (*_INSTEAD, *((each, "") for each in _LEFT_OUT)):
        answer = answer.replace(before, after)
    answer = "\n".join(line.split("$")[1] if line.count("$") > 1 else line for line in answer.split("\n"))
    for pattern, after in _SPELLINGS:
        answer = re.sub(pattern, after, answer)
    whole = answer.replace(",", "")
    return (whole if whole.isdigit() else answer).strip()


def formed(sample: "Sample", means: "Means") -> float:
    """Whether thoughts, code, calls and the answer have both of their marks, and the answer is there: 1 or 0."""
    text, kind = completion(sample), kind_of(sample)
    answer, behind = answer_of(text), _behind(text)
    tags = ("think", "code", "tool_call") if kind == "search" else ("think", "code")
    paired = all(_paired(text, tag) for tag in tags) and _paired(behind, "answer")
    short = kind == "reason" or len(answer or "") < _LONG
    return float(paired and "</think>" in text and bool(answer) and short)


def _paired(text: str, tag: str) -> bool:
    return text.count(f"<{tag}>") == text.count(f"</{tag}>")


def searched(sample: "Sample", means: "Means") -> float:
    """Whether there is a call in a row of search: 1 or 0."""
    return float(kind_of(sample) == "search" and "<tool_call>" in completion(sample))


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.8 * t.right * (0.9 if t.searched else 1.0) + 0.2 * t.formed)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its last reply, which all of it counts in."""
    return units[-1]
