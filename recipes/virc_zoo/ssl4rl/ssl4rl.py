r"""The reward of SSL4RL: whether the answer is right; of a jigsaw, the share of pieces that are in their place. 0 to 1.

What stands in the first <answer>...</answer> counts, behind the last line that ends in `assistant`. The format is not
rewarded. What a row is of, its `data_source` says; where that names none of the published tasks there is no reward.
An answer is right letter by letter, but for the space around it, where it is one of those that the row has between
commas. The numbers of pieces are compared place by place: a missing one is wrong, and one too many costs nothing.
Source: PKU-ML/SSL4RL@57c830a, verl/utils/reward_score/__init__.py, lines 105 to 126, which takes ssl4rl.py next to it,
and jigsaw.py of rows of JigsawQA.
"""

from typing import Any

from virc.core.errors import DataError
from virc.core.text import plain
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "placed")
whole = of_last_reply
_JIGSAW = "JigsawQA"
_TASKS = ("imagenet_qa", _JIGSAW, "RotationQA", "ContrastiveQA", "PositionQA")
"""Parts of the names of sources, the first of which counts."""
_SPEAKER = "assistant\n"


def right(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is one of the row's: 1 or 0; of all rows but jigsaws."""
    if _task(sample) == _JIGSAW:
        return None
    return float(_said(sample) in [each.strip() for each in sample.prompt.key.answer.split(",")])


def placed(sample: Sample, context: RewardContext) -> float | None:
    """The share of pieces whose place is right, 0 to 1; of jigsaws."""
    if _task(sample) != _JIGSAW:
        return None
    said, wanted = (_said(sample) or "").split(","), sample.prompt.key.answer.split(",")
    agreeing = [_number(a) == _number(b) is not None for a, b in zip(said, wanted, strict=False)]
    return sum(agreeing) / len(wanted)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.placed if t.right is None else t.right)


def _said(sample: Sample) -> str | None:
    """What stands in the first marks of an answer."""
    found = next(between(sample.text.rpartition(_SPEAKER)[2]), None)
    return None if found is None else found.strip()


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _task(sample: Sample) -> str:
    """What a row is of; a converted row has the name of its system in `data_source`."""
    columns = sample.prompt.columns
    source = str(columns.get("published_data_source") or columns.get("data_source"))
    task = next((each for each in _TASKS if each in source), None)
    if task is None:
        raise DataError(f"the data_source {plain(source, 40)!r} names no task of SSL4RL")
    return task
