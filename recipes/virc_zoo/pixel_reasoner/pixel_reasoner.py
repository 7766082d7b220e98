r"""The reward of Pixel Reasoner: the answer, and among the rollouts of a prompt more for looking where few do.

Of p, the share of rollouts that call a tool, a rollout that does so gets, right or wrong,

    max(0.3 - p, 0) / 2 * 0.25 / p - 0.05 * (calls - 1)

and of rows with `is_video` the first part divided by 1.5 in place of 2. An answer is 1, 0, or -1 where math-verify
parses nothing in all that was written and shown; it is compared in lower case, from the last \boxed on, else in
<answer>, else all of the text. The parts of an answer between commas are looked for behind the last \boxed. A right
answer is worth 0 where the last call before it failed. Calls are replies that end in </tool_call>, failed ones too.
Source: TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, curiosity_driven_rl/openrlhf/trainer/ppo_utils/experience_maker.py,
rule_reward and _generate_vllm. What differs: whether the last call failed is read there of the rollout with the same
number in the first group of a batch, here of the rollout itself.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.deepeyes.deepeyes import completion
from virc_zoo.delimiters import on_one_line
from virc_zoo.graders import parsed_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "failed", "called", "clip")
whole = of_last_reply
_RATE = 0.3
_MOST = 0.25
_CALL = 0.05
_BOX = r"\boxed"
_LEFT_OUT = (("dfrac", "frac"), (r"\text", ""), (r"\varnothing", r"\emptyset"), ("minutes", ""), ("cm", ""))


def normalized(text: str) -> str:
    """A text as the program brings it to math-verify."""
    for written, instead in _LEFT_OUT:
        text = text.replace(written, instead)
    return text


def references(sample: Sample) -> list[str]:
    """The answers of the row that are right."""
    return [*map(str, sample.prompt.columns.get("answers") or [sample.prompt.key.answer])]


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is right: 1, 0, or -1 where nothing can be parsed."""
    text, value = completion(sample).lower(), 0.0
    for answer in _lowered(references(sample)):
        boxed = normalized(answer if _BOX in answer else f"{_BOX}{{{answer}}}")
        for said in _candidates(text):
            value = await parsed_agree(normalized(said), boxed)
            if value == 1:
                return 1.0
        parts = answer.removeprefix(f"{_BOX}{{").removesuffix("}").split(",")
        if len(parts) > 1 and "boxed" in text and all(each.strip() in text[text.rindex("boxed") :] for each in parts):
            return 1.0
    return value


def _lowered(answers: Sequence[str]) -> list[str]:
    """Answers in lower case, before them the first that has a % without it."""
    lowered = [each.lower() for each in answers]
    bare = next((each.replace("%", "") for each in lowered if "%" in each), None)
    return lowered if bare is None or bare in lowered else [bare, *lowered]


def _candidates(text: str) -> Iterator[str]:
    """What may be the answer of a text, first what is marked as such."""
    if _BOX in text:
        yield text[text.rindex(_BOX) :].strip()
    marked = on_one_line(text)
    if marked is not None:
        yield f"{_BOX}{{{marked}}}"
    yield text


def failed(sample: Sample, context: RewardContext) -> float:
    """Whether the last call before the reply could not be carried out: 1 or 0."""
    return float(bool(sample.prompt.calls) and sample.prompt.calls[-1].fault is not None)


def called(sample: Sample, context: RewardContext) -> float:
    """Whether the reply calls a tool: 1 or 0."""
    return float(sample.text.endswith("</tool_call>"))


def clip(sample: Sample, context: RewardContext) -> float:
    """Whether the row is about a video: 1 or 0."""
    return float(bool(sample.prompt.columns.get("is_video")))


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply, before the group's."""
    return 0.0 if t.right > 0 and t.failed else float(t.right)


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards with what is given for curiosity, and taken for calls after the first."""
    calls = [int(t.turns - 1 + t.called) for t in ts]
    rate = sum(each > 0 for each in calls) / len(ts)

    def bonus(calls: int, clip: float) -> float:
        return max(_RATE - rate, 0.0) / (1.5 if clip else 2) * _MOST / rate - _CALL * (calls - 1) if calls else 0.0

    return [reward + bonus(each, t.clip) for reward, each, t in zip(rewards, calls, ts, strict=True)]
