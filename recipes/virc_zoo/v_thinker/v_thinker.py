r"""The reward of V-Thinker: the answer, the form, and where the answer is right, its code and its thought.

    right + 0.5 * formed, and where right > 0: + 0.3 * ran + 0.5 * consistent

    right: 1, or -1 where the judge calls the answer wrong; 0 without an answer, or without a verdict that can be read
    formed: 1 where the reply is a thought, one sign of white space and the answer, each with its marks once
    ran: the share of results of code that are not errors; 0 without code
    consistent: 1 where the judge finds that the last 500 characters of the thought draw the conclusion of the answer

All of it is of the completion as one text, with the results of code. From -1 to 2.3. The questions to the judge stand
in `judge.yaml` and `judge-consistency.yaml`.
Source: We-Math/V-Thinker@77a5ab8119d7, scripts/plugin/agent_rm.py (VQAORM, FMTORM, CODEORM, CSTORM) with its default
weights, and swift/trainers/rlhf_trainer/grpo_trainer.py for what counts only where the answer is right. What differs:

- the copy of PRM800K's grader there keeps spaces and braces within an answer, and drops `liter`; mathruler's copy here
  does the opposite. So `x^{2}` for x^2 is right here, and there where the judge says so;
- an error is what the protocol marks so; code that prints nothing is one there, code that fails after a print none;
- a judge that is away is waited for; there that is a score of 0.
"""

import json
import re
from pathlib import Path
from typing import Any

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between, in_last_box
from virc_zoo.graders import equal, texts_agree
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("right", "formed", "ran", "consistent")
whole = of_last_reply
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_PREFIXES = (
    "The best answer is", "The correct answer is", "The answer is", "The answer: ", "Answer: ", "The best option is",
    "The correct option is", "Best answer:", "Best option:",
)  # fmt: skip
_BEHIND = ("answer:", "answer is", "answers are")
_BEFORE = ("is answer", "is the answer", "are answers", "are the answers")
_LAST = ("be ", "is ", "are ", "=", ": ", "get ", "be\n", "is\n", "are\n", ":\n", "get\n")
_ERROR = "sandbox for"
_TAIL = 500
_TRIES = 3


def _said(reply: str, key: str) -> int | None:
    """The whole number under a key in the first JSON object of a judge's reply; None where there is none."""
    fenced = re.findall(r"```(.*?)```", reply, re.DOTALL)
    text = fenced[0] if len(fenced) == 1 else reply
    start = text.find("{")
    end = text.find("}", start + 1)
    try:
        return int(json.loads(text[start : end + 1].replace("\\", "\\\\"))[key])
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return None


def verdict(reply: str) -> float | None:
    """1 for a right answer and -1 for a wrong one."""
    found = _said(reply, "Correctness")
    return None if found is None else 2.0 * found - 1


def agreement(reply: str) -> float | None:
    """1 where thought and answer draw the same conclusion, else 0."""
    found = _said(reply, "Consistency")
    return None if found is None else float(found)


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict, tries=_TRIES)
CONSISTENCY = published(Path(__file__).with_name("judge-consistency.yaml"), agreement, tries=_TRIES)


def completion(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as one text with <image> for each image."""
    return "".join(each.content for each in before_reply(sample)).replace(MARK, "<image>") + sample.text


def answer_of(text: str) -> str:
    """What stands between the first <answer> and the </answer> behind it; empty without."""
    return next(between(text, "<answer>", "</answer>"), "").strip()


def thought_of(text: str) -> str:
    """What stands between the first <think> and the </think> behind it, else all before </think>, without marks."""
    thought = next(between(text, "<think>", "</think>"), "") or text.split("</think>", maxsplit=1)[0].replace(
        "<think>", ""
    )
    return thought.replace("<image>", "").replace("</sandbox_output>", "").replace("<sandbox_output>", "")


@asks(ASKED)
async def right(sample: Sample, context: RewardContext) -> float:
    """1 or -1, by PRM800K's grader or math-verify where these find it right, else by the judge; 0 without an answer."""
    answer, reference = answer_of(completion(sample)), sample.prompt.key.answer
    if not answer:
        return 0.0
    said = _bare(answer)
    if await equal(stated(said), reference) or await texts_agree(said, reference):
        return 1.0
    found = await ASKED.asked(sample, context, "right", answer=answer)
    sample.why["right"] = found.why
    return found.value


def _bare(answer: str) -> str:
    """An answer without the words that lead to it."""
    for prefix in _PREFIXES:
        answer = answer.replace(prefix, "")
    return answer


def stated(answer: str) -> str:
    """What the program grades of an answer: its last box, else what no sentence, verb or sign of equality precedes."""
    for mark in _BEHIND:
        answer = _behind(answer, mark)
    for mark in _BEFORE:
        answer = _before(answer, mark)
    answer = _before(in_last_box(answer) or answer, ". ")
    for mark in _LAST:
        answer = _behind(answer, mark)
    return answer


def _behind(text: str, mark: str) -> str:
    at = text.lower().rfind(mark)
    return text if at < 0 else text[at + len(mark) :].strip()


def _before(text: str, mark: str) -> str:
    at = text.lower().rfind(mark)
    return text if at < 0 else text[:at].strip()


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the completion is a thought, one sign of white space, and an answer at its end: 1 or 0."""
    text = completion(sample)
    behind = text.partition("</think>")[2]
    once = all(text.count(tag) == 1 for tag in _TAGS)
    fits = behind[:1].isspace() and behind[1:].startswith("<answer>") and behind.endswith("</answer>")
    return float(once and fits)


def ran(sample: Sample, context: RewardContext) -> float:
    """The share of results of code that are not errors, 0 to 1; 0 without code or an answer."""
    text = completion(sample)
    results = list(between(text, "<sandbox_output>", "</sandbox_output>")) if answer_of(text) else []
    good = [each for each in results if _ERROR not in each.lower()]
    return len(good) / len(results) if results else 0.0


@asks(CONSISTENCY)
async def consistent(sample: Sample, context: RewardContext) -> float:
    """Whether the thought leads to the answer, as the judge says: 1 or 0; 0 without an answer."""
    text = completion(sample)
    answer = answer_of(text)
    if not answer:
        return 0.0
    found = await CONSISTENCY.asked(sample, context, "consistent", thought=thought_of(text)[-_TAIL:], answer=answer)
    sample.why["consistent"] = found.why
    return found.value


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    further = 0.3 * t.ran + 0.5 * t.consistent if t.right > 0 else 0.0
    return float(t.right + 0.5 * t.formed + further)
