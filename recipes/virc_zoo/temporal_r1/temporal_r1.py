"""The reward of Temporal-R1: half the overlap in time, half the format, 0 to 1.

The overlap is that of the span in the first <answer>, JSON with the times `start_time` and `end_time` in seconds, with
the row's, whose times are shares of `video_length`, or of what the clip was measured to last. The format is a
<think>...</think>, and an <answer> with such JSON alone, in this order, both times as texts of digits and points.
Source: appletea233/Temporal-R1@f364f6c, verl/utils/reward_score/tvg.py.
"""

import json
import re
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply

TERMS = ("overlap", "formed")
whole = of_last_reply
_OPEN, _CLOSE, _THOUGHT = "<answer>", "</answer>", "<think>"
_TIME = r"""\s*:\s*"[\d.]+"\s*"""
_END = re.compile(rf"""</think>\s*{_OPEN}\s*{{\s*"start_time"{_TIME},\s*"end_time"{_TIME}}}\s*{_CLOSE}\Z""")


def overlap(sample: Sample, context: RewardContext) -> float:
    """How much of the right span the answer names, 0 to 1; 0 where it cannot be read."""
    from virc_extras.video.spans import hull_iou, length_of

    columns, right = sample.prompt.columns, json.loads(sample.prompt.key.answer)
    clip = (columns.get("image_media") or [None])[0] or {}
    length = length_of({"duration": clip.get("facts", {}).get("length"), **columns})
    _, begun, rest = sample.text.partition(_OPEN)
    answer, ended, _ = rest.partition(_CLOSE)
    try:
        said = json.loads(answer.strip()) if begun and ended else {}
        return hull_iou((float(said["start_time"]) / length, float(said["end_time"]) / length), (right[0], right[1]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 0.0


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is a marked thought and such an answer: 1 or 0."""
    return float(sample.text.startswith(_THOUGHT) and _END.search(sample.text, len(_THOUGHT)) is not None)


def total(t: Any) -> float:
    """The reward of one reply."""
    return float(0.5 * t.overlap + 0.5 * t.formed)
