"""The reward of Chain-of-Focus: 0.9 * right + 0.1 * format, and among the rollouts of a prompt more for not looking.

Both are of all replies as one text: the last <answer> is judged, and the format is as many <think> as </think> and as
many <answer> as </answer>, one at least, and an answer of at most 1,000 words.
AGAR, the adaptive rewards of a group: where a rollout without a look is right, such are worth 1, right ones with looks
0.8; where none is, right ones with looks are worth 1. Wrong ones with looks are always worth 0.5, wrong ones without 0,
or 0.1 where they are in the format. A group of one stays as it is. A rollout that writes <tool_call> has looked, also
where its box was refused.

Source: xtong-zhang/Chain-of-Focus, verl/recipe/zoomin/zoomin_reward3.py, and verl/verl/trainer/ppo/core_algos.py,
compute_grpo_outcome_advantage, which takes for right what has over 0.5. The question to the judge is that of DeepEyes,
`judges/deepeyes.yaml`. Its paper (arXiv:2505.15436) tells of outcome and format only. What differs:

- a rollout that ends in a tool call is not judged: it has no answer, and is not right;
- rows of mathematics (thinklite_eureka) are compared by algebra there before a judge is asked, here the judge decides.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.rewards.totals.deepeyes import verdict

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("judged", "orderly", "called")
JUDGE = "deepeyes"
"""Whose question is asked, a file of `judges/`."""
_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
_MOST_WORDS = 1000


async def judged(sample: "Sample", means: "Means") -> float | None:
    """Whether the judge calls the last answer right, also where there is none: 1 or 0; not of replies that look."""
    answer, prompt = answer_of(said(sample)), sample.prompt
    if "<tool_call>" in sample.text and not answer:
        return None
    texts = {"question": prompt.question, "reference": prompt.record.answer or "", "answer": answer}
    found = await means.asked().ask_as_published(JUDGE, texts, verdict)
    sample.why["judged"] = found.why
    return found.value


def orderly(sample: "Sample", means: "Means") -> float:
    """Whether marks of thoughts and answers are in pairs, one at least, and the answer has at most 1,000 words."""
    text = said(sample)
    pairs = [(text.count(f"<{mark}>"), text.count(f"</{mark}>")) for mark in ("think", "answer")]
    paired = all(first == second >= 1 for first, second in pairs)
    return float(paired and len(answer_of(text).split()) <= _MOST_WORDS)


def called(sample: "Sample", means: "Means") -> float:
    """Whether the rollout writes a tool call: 1 or 0."""
    return float("<tool_call>" in said(sample))


def said(sample: "Sample") -> str:
    """All replies as one text; what is shown between them has no mark that counts."""
    before = [message.content for message in sample.prompt.record.messages if message.role == "assistant"]
    return "\n".join((*before, sample.text))


def answer_of(text: str) -> str:
    """What stands in the last marks of an answer; empty where there are none."""
    found = _ANSWER.findall(text)
    return str(found[-1]).strip() if found else ""


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.9 * (t.judged or 0.0) + 0.1 * t.orderly)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, before the group's: that of its last reply."""
    return units[-1]


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards by what others of the group got without a look."""
    if len(rewards) < 2:
        return list(rewards)
    direct = any(reward > 0.5 and not t.called for reward, t in zip(rewards, ts, strict=True))

    def worth(reward: float, looked: float) -> float:
        if reward > 0.5:
            return 0.8 if looked and direct else 1.0
        return 0.5 if looked else 0.1 if reward == 0.1 else 0.0

    return [worth(reward, t.called) for reward, t in zip(rewards, ts, strict=True)]
