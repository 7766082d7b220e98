"""The reward of Chain-of-Focus: 0.9 * right + 0.1 * format, and among the rollouts of a prompt more for not looking.

Both are of the completion as one text, with what tools show in it but the sentence behind a crop: the last <answer> is
judged, and the format is as many <think> as </think> and as many <answer> as </answer>, one at least, and an answer of
at most 1,000 words.
AGAR, the adaptive rewards of a group: where a rollout without a look is right, such are worth 1, right ones with looks
0.8; where none is, right ones with looks are worth 1. Wrong ones with looks are always worth 0.5, wrong ones without 0,
or 0.1 where they are in the format. A group of one stays as it is. A rollout that writes <tool_call> has looked, also
where its box was refused.

Source: xtong-zhang/Chain-of-Focus, verl/recipe/zoomin/zoomin_reward3.py, and verl/verl/trainer/ppo/core_algos.py,
compute_grpo_outcome_advantage, which takes for right what has over 0.5. The question to the judge is that of DeepEyes,
its `judge.yaml`. The first version of its paper (arXiv:2505.15436) tells of outcome and format only. What differs:

- a rollout that ends in a tool call is not judged: it has no answer, and is not right;
- rows of mathematics (thinklite_eureka) are compared by algebra there before a judge is asked, here the judge decides.
"""

from collections.abc import Sequence
from typing import Any

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.question import asks
from virc.rewards.sample import Sample
from virc_zoo.deepeyes.deepeyes import ASKED, goes_on
from virc_zoo.delimiters import between
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("judged", "orderly", "called")
whole = of_last_reply
JUDGE = "deepeyes"
"""What its judge is asked for."""
_MOST_WORDS = 1000


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float | None:
    """Whether the judge calls the last answer right, also where there is none: 1 or 0; not of replies that look."""
    if goes_on(sample.text):
        return None
    found = await ASKED.asked(sample, context, JUDGE, answer=answer_of(completion(sample)))
    sample.why["judged"] = found.why
    return found.value


def orderly(sample: Sample, context: RewardContext) -> float:
    """Whether marks of thoughts and answers are in pairs, one at least, and the answer has at most 1,000 words."""
    text = completion(sample)
    pairs = [(text.count(f"<{mark}>"), text.count(f"</{mark}>")) for mark in ("think", "answer")]
    paired = all(first == second >= 1 for first, second in pairs)
    return float(paired and len(answer_of(text).split()) <= _MOST_WORDS)


def called(sample: Sample, context: RewardContext) -> float:
    """Whether the rollout writes a tool call: 1 or 0."""
    return float("<tool_call>" in completion(sample))


def completion(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as one text; images and their sentence leave nothing."""
    protocol = sample.prompt.protocol
    text = "\nassistant\n".join((*(each.content.replace(MARK, "") for each in before_reply(sample)), sample.text))
    return text.replace(protocol.after_image.replace("{image}", "").strip(), "") if protocol else text


def answer_of(text: str) -> str:
    """What stands in the last marks of an answer; empty where there are none."""
    *_, last = ("", *between(text))
    return last.strip()


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.9 * (t.judged or 0.0) + 0.1 * t.orderly)


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
