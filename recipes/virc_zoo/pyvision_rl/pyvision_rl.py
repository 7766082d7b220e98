r"""The reward of PyVision-RL: whether the answer is right, and for right ones 0.1 for each piece of code that ran.

Judged is what is in the first <answer> line, \boxed{...} line, </answer>. Without it, with another <answer>, \boxed or
<interpreter> in it, or with marks of images, or of answers behind the last result, that are not in pairs, the reward is
0 and no judge is asked. A right answer of 1,000 characters or more is worth its code alone.
The column `data_source` names the kind of a row, by which the judge gets other examples: `judge-KIND.yaml`.
Source: agents-x-project/PyVision-RL@62ca599, verl_agents/verl/utils/reward_score/multi_task_verifier.py, and
verl_agents/verl/workers/reward_manager/naive.py. What differs: rows of videos (vsi, longvila) have no examples here;
the program raises for sources that it does not know, here the row is refused.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.question import Question, asks, published
from virc.rewards.sample import Sample
from virc_zoo.deepeyes import deepeyes
from virc_zoo.pyvision_rl.rows import KIND

TERMS = ("judged", "short")
JUDGE = "pyvision-rl"
"""What its judge is asked for."""
_OF_CODE = 0.1
_LONG = 1000
_ANSWER = re.compile(r"<answer>\n\\boxed\{(.*?)\}\n</answer>", re.DOTALL)
_SEARCH, _CHART, _MATH = (
    published(Path(__file__).with_name(f"judge-{kind}.yaml"), deepeyes.verdict) for kind in ("search", "chart", "math")
)
_SOURCES = {
    **dict.fromkeys(("deepeyes", "minio3", "vstar", "hrbench-4k", "hrbench-8k"), _SEARCH),
    "ecd": _CHART,
    **dict.fromkeys(("wemath-standard", "wemath-pro", "v-interaction", "mathvision", "wemath"), _MATH),
    **dict.fromkeys(("mathvista", "mathverse", "logicvista"), _MATH),
}


@asks(_SEARCH, _CHART, _MATH)
async def judged(sample: Sample, context: RewardContext) -> float:
    """Whether the judge of PyVision-RL calls the answer right: 1 or 0."""
    answer = answer_of(deepeyes.completion(sample))
    if answer is None:
        return 0.0
    asked = await _question_of(sample).asked(sample, context, JUDGE, answer=answer)
    sample.why["judged"] = asked.why
    return asked.value


def _question_of(sample: Sample) -> Question:
    """The question to the judge by the source of the row, as `rows` keeps it."""
    source = sample.prompt.columns.get(KIND)
    if source not in _SOURCES:
        raise DataError(f"PyVision-RL has no question to its judge for rows of {source!r}")
    return _SOURCES[source]


def short(sample: Sample, context: RewardContext) -> float:
    """Whether the answer has less than 1,000 characters: 1 or 0."""
    return float(len(answer_of(deepeyes.completion(sample)) or "") < _LONG)


def answer_of(text: str) -> str | None:
    """The boxed answer of a completion; None where it is not in the form."""
    images = [text.count(mark) for mark in ("<|vision_start|><|image_pad|>", "<|image_pad|><|vision_end|>")]
    last = text.rpartition("</interpreter>")[2]
    found = _ANSWER.search(text)
    if not found or images[0] != images[1] or last.count("<answer>") != last.count("</answer>"):
        return None
    answer = found[1].strip()
    return None if any(mark in answer for mark in ("<interpreter>", "<answer>", "\\boxed")) else answer


def total(t: Any) -> float:
    """The reward of a reply, without that of the code before it."""
    return float(t.judged * t.short)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its last reply, and where it is right that of its code."""
    return float(units[-1] + _OF_CODE * t.tool_calls * t.judged)
