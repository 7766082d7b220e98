r"""The reward of Mini-o3, as its command sets it: whether a judge calls the answer right, and nothing else. 0 or 1.

What stands between the first <answer> and </answer> of all replies is judged; without them there is no question, and
no reward. The question to the judge stands in `judge.yaml`.
Source: Mini-o3/Mini-o3, verl/utils/reward_score/general_qa_tool.py, with the weights of README.md (accuracy 1, format
0, no price or bonus for calls). What differs: a judge that gives no score in 5 tries takes the whole group out there,
and is worth 0 here.
"""

from pathlib import Path
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("judged",)
whole = of_last_reply
JUDGE = "mini-o3"
"""What its judge is asked for."""


def verdict(reply: str) -> float | None:
    """1 or 0 from the word behind the last `score:` of a judge's reply; None where there is none."""
    _, marked, behind = reply.lower().rpartition("score:")
    word = behind.strip().split("\n")[0].strip().split(" ")[0]
    return float("1" in word) if marked and ("1" in word or "0" in word) else None


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict, tries=5)


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float | None:
    """Whether the judge of Mini-o3 calls the answer right: 1 or 0; of replies behind which there is an answer."""
    said = [message.content for message in sample.prompt.record.messages if message.role == "assistant"]
    found = next(between(" ".join((*said, sample.text))), None)
    if found is None:
        return None
    asked = await ASKED.asked(sample, context, JUDGE, answer=found)
    sample.why["judged"] = asked.why
    return asked.value


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return t.judged or 0.0
