r"""The reward of DeepEyes, as its program gives it: the judge, the format, and a look where the answer is right.

    0.8 * right + 0.2 * format, which is 0 or -1, + 1.2 where an image came back and the answer is right

All of it is of the completion as one text, with the turns that bring images: what stands between the last <answer> and
the </answer> behind it is judged, or all of the text where there is none. An answer of 1,000 characters or more is
wrong, and not in the format. From -0.2 to 2. The question to the judge stands in `judge.yaml`.
Source: Visual-Agent/DeepEyes, verl/utils/reward_score/vl_agent.py, compute_score. What differs:

- a rollout that ends in a tool call is not judged, and not right; there its answer is the three dots that the words
  behind the last crop have in <answer>, or all of its text.
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

TERMS = ("judged", "orderly", "viewed")
whole = of_last_reply
JUDGE = "deepeyes"
"""What its judge is asked for."""
_LONG = 1000
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_ANSWERED = re.compile(r"<answer>\s*(?!</?answer>)\S(?:(?!<answer>).)*?</answer>", re.DOTALL)


def verdict(reply: str) -> float:
    """1 or 0, as the program reads the judge's reply; what it cannot read is 0."""
    _, marked, judgement = reply.strip().rpartition("Judgement:")
    return float("1" in judgement) if marked else float(judgement == "1")


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict)


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float | None:
    """Whether the judge of DeepEyes calls the answer right: 1 or 0; of replies that end a rollout only."""
    if goes_on(sample.text):
        return None
    answer = answer_of(completion(sample))
    if len(answer) >= _LONG:
        return 0.0
    found = await ASKED.asked(sample, context, JUDGE, answer=answer)
    sample.why["judged"] = found.why
    return found.value


def orderly(sample: Sample, context: RewardContext) -> float:
    """0, or -1 where marks of thoughts, images or the answer are not in pairs, or the answer is long."""
    text = completion(sample)
    pairs = (
        (text, "<think>", "</think>"),
        (text, "<|vision_start|><|image_pad|>", "<|image_pad|><|vision_end|>"),
        (text.split("</think>")[-1], "<answer>", "</answer>"),
    )
    paired = all(part.count(first) == part.count(second) for part, first, second in pairs)
    return 0.0 if paired and len(answer_of(text)) < _LONG else -1.0


def viewed(sample: Sample, context: RewardContext) -> float:
    """Whether an image came back in the rollout: 1 or 0."""
    return float("<|vision_start|><|image_pad|>" in completion(sample))


def completion(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as one text in the marks of Qwen's chat template."""
    said = [
        (each.role, each.content.replace(MARK, _IMAGE if each.role == "user" else MARK))
        for each in before_reply(sample)
    ]
    turns = (f"<|im_start|>{role}\n{text}<|im_end|>" for role, text in (*said, ("assistant", sample.text)))
    return "\n".join(turns).removeprefix("<|im_start|>assistant\n")


def goes_on(reply: str) -> bool:
    """Whether a reply calls a tool, and has no answer that ends the rollout."""
    called = any(True for _ in between(reply, "<tool_call>", "</tool_call>"))
    return called and not _ANSWERED.search(reply)


def answer_of(text: str) -> str:
    """What stands between the last <answer> and the </answer> behind it; without them, all of the text."""
    return text.rsplit("<answer>", maxsplit=1)[-1].split("</answer>", maxsplit=1)[0].strip()


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    right = t.judged or 0.0
    return float(0.8 * right + 0.2 * t.orderly + 1.2 * (right > 0.5) * t.viewed)
