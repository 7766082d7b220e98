"""Whether the answer is right: as a text, a choice, a number, or by algebra."""

import asyncio
import math
import re
from fractions import Fraction

from virc.rewards import published
from virc.rewards.context import NO_ALGEBRA, RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc.rewards.terms import answer_term, term
from virc.scoring.score import Key, Verdict, relative_error
from virc.scoring.score import score as by_rule

_LETTER = re.compile(r"\(?[A-Za-z](?:[).:].*)?", re.DOTALL)
_THRESHOLDS = [Fraction(steps, 20) for steps in range(1, 11)]


@term
async def answer(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right: 1 or 0; of replies that answer only.

    Terms that need this too await it here, and the judge is asked once.
    Source: in the published reward a judge decides alone. Ours asks it about what no rule and no algebra finds right,
    and without a judge these decide.
    """
    if context.judge is None:
        return await _answer(sample, context)
    if "answer" not in sample.asked:
        sample.asked["answer"] = asyncio.ensure_future(_answer(sample, context))
    return await sample.asked["answer"]


async def _answer(sample: Sample, context: RewardContext) -> float | None:
    if sample.answer is None:
        return None
    text, key = sample.answer, sample.prompt.key
    if context.judge is None or sample.prompt.strict == "own":
        verdict = by_rule(text, key)
        if not verdict.right and context.symbolic:
            verdict = await asyncio.to_thread(by_rule, text, key, context.symbolic.same)
        if verdict.right or context.judge is None:
            return _value(verdict, "answer", sample)
    texts = {"question": sample.prompt.question, "reference": key.reference, "answer": text}
    found = await context.judge.ask("answer", texts, (), published.read_verdict)
    sample.why["answer"] = found.why
    return found.value


async def graded(answer: str, sample: Sample, context: RewardContext, name: str = "right") -> float:
    """Whether an answer is right by rule, or by algebra where that is there: 1 or 0; `why` has which, under `name`."""
    same = context.symbolic.same if context.symbolic else None
    return _value(await asyncio.to_thread(by_rule, answer, sample.prompt.key, same), name, sample)


def _value(verdict: Verdict, name: str, sample: Sample) -> float:
    sample.why[name] = "by algebra" if verdict.by == "symbolic" else "by rule"
    return float(verdict.right)


@answer_term
def exact(answer: str, sample: Sample, context: RewardContext) -> float:
    """Whether the answer is an accepted one, letter by letter but for case and space: 1 or 0; of answers only.

    Source: the string match of most rule rewards, such as Reason-RFT (tanhuajie/Reason-RFT, train/stage_rl/reward.py)
    and ViGoRL (Gabesarch/grounded-rl, string_match.py), of which only the second ignores case.
    """
    return float(plain(answer) in map(plain, sample.prompt.key.accepted))


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


@answer_term
def choice(answer: str, sample: Sample, context: RewardContext) -> float:
    """Whether the answer names the right choice, by its letter or its content: 1 or 0; of answers only.

    Of the row: `choices`, their contents in order; without them its `answer` is a letter, or begins with one.
    Source: the multiple-choice rewards of VLM-R1, Video-R1 and others, which take the letter alone.
    """
    key = sample.prompt.key
    if not key.choices and not any(_LETTER.fullmatch(each.strip()) for each in key.accepted):
        raise UnscoredError("the row has no choices, and its answer is no letter")
    return float(by_rule(answer, key).right)


@answer_term
def number(answer: str, sample: Sample, context: RewardContext) -> float:
    """Whether the answer is the right number: 1 or 0; of answers only.

    Of the row: `tolerance`, the share of the right number by which another may be off, or `decimals` to round both to;
    without them the numbers are equal. A text that is no number scores 0.
    Source: the number rewards of Video-R1 and VLAA-Thinking; the two columns are those of `virc solve` (see
    `scoring.Key`).
    """
    if _relative_error(answer, sample.prompt.key) is None:
        sample.why["number"] = "the answer is no number"
        return 0.0
    return float(by_rule(answer, sample.prompt.key).right)


def _relative_error(answer: str, key: Key) -> Fraction | None:
    if all(relative_error(each, key) is None for each in key.accepted):
        raise UnscoredError("the right answer is no number")
    return relative_error(answer, key)


@answer_term
def closeness(answer: str, sample: Sample, context: RewardContext) -> float:
    """How near a number is to the right one: 1 within 5 %, 0 beyond 20 %, half a cosine between; of answers only.

    Source: tanhuajie/Reason-RFT, train/stage_rl/reward.py, math_accuracy_reward. There no answer scores where the right
    number is 0, as its 5 % are nothing; here 0 does.
    """
    error = _relative_error(answer, sample.prompt.key)
    beyond = 1.0 if error is None else (float(min(error, Fraction(1))) - 0.05) / 0.15  # 0 at 5 %, 1 at 20 %
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, beyond))))


@answer_term
def relative_accuracy(answer: str, sample: Sample, context: RewardContext) -> float:
    """Mean relative accuracy of a number: the share of ten thresholds that its relative error stays within, 0 to 1.

    The thresholds are 0.5, 0.55 to 0.95; of one, c, the error is under 1 - c. Of answers only.
    Source: Yang et al., Thinking in Space (arXiv:2412.14171), section 3.1, as ViLaSR rewards numbers with it
    (AntResearchNLP/ViLaSR, verl/utils/reward_score/gcot.py).
    """
    error = _relative_error(answer, sample.prompt.key)
    return 0.0 if error is None else sum(error < allowed for allowed in _THRESHOLDS) / len(_THRESHOLDS)


@term
async def symbolic(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer equals the right one by rule or algebra: 1 or 0, without a judge; of answers only.

    Source: math-verify, as most rewards for mathematics use it. It knows no choices: those are compared by rule.
    """
    if sample.answer is None:
        return None
    if context.symbolic is None:
        raise UnscoredError(NO_ALGEBRA)
    return await graded(sample.answer, sample, context, "symbolic")
