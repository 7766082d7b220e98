r"""The reward of Vision-G1: whether what stands in the last \boxed{} is right, or the overlap of a box. 0 to 1.

An answer is right where math-verify finds it in the whole reply, or in what the reply's last \boxed{} has (\fbox, where
it has none), and where that is the row's answer but for capitals. Rows whose data_source is vision_g1_bbox are answered
with a box of whole numbers ([left, top, right, bottom]): the first in the reply's box and the row's by IoU, as it is.
Source: yuh-zha/Vision-G1@1f2c30f, training/verl/utils/reward_score/mmpr.py, compute_score_boxed and _iou.
What differs: the program subtracts numbers of boxes as texts, which raises and ends the run; here they are numbers.
"""

import re
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc.scoring.boxes import iou
from virc_zoo.delimiters import in_last_box, on_one_line
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "overlap")  # both stand below, the second in place of the common term of that name
whole = of_last_reply
_SOURCES = ("vision_g1_bbox", "new_domain/multi_ui_bbox")
_BOX = re.compile(r"\[\s*([0-9]+)\s*,\s*([0-9]+)\s*,\s*([0-9]+)\s*,\s*([0-9]+)\s*\]")


async def right(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right: 1 or 0; of rows that are not answered with a box."""
    if _is_box(sample):
        return None
    text, answer = sample.text.replace("<|im_end|>", "").strip(), sample.prompt.key.answer
    said = in_box(text) or ""
    same = said and (said.lower() == answer.strip().lower() or await texts_agree(f"${said}$", f"${answer}$"))
    return float(bool(same) or await texts_agree(text, answer))


def overlap(sample: Sample, context: RewardContext) -> float | None:
    """IoU of the box in the reply's box and that of the row's answer; of rows that are answered with a box."""
    if not _is_box(sample):
        return None
    said, wanted = _BOX.search(in_box(sample.text) or ""), _BOX.search(sample.prompt.key.answer)
    if not said or not wanted:
        return 0.0
    return iou(*((float(a), float(b), float(c), float(d)) for a, b, c, d in (said.groups(), wanted.groups())))


def in_box(text: str) -> str | None:
    r"""What stands in the last \boxed{}, else in the last \fbox{}, of that in a \text{}; None where there is none."""
    found = in_last_box(text)
    inner = on_one_line(found or "", r"\text{", "}")
    return found if inner is None else inner.strip()


def _is_box(sample: Sample) -> bool:
    columns = sample.prompt.columns  # a converted row has the name of its system in the first
    return not {columns.get("data_source"), columns.get("published_data_source")}.isdisjoint(_SOURCES)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.right if t.overlap is None else t.overlap)
