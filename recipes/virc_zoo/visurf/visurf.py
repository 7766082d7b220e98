"""The reward of ViSurf: boxes and points that match, their form, a thought, and sentences that are not repeated.

    R = framed + formed + matched + unrepeated

An answer is a JSON list of objects with `bbox_2d` and `point_2d`, in pixels of the picture as shown; so is the row's.
Those of both are paired one to one, and a pair is worth 1 each for an IoU over 0.5, for sides less than 10 px apart in
the mean, and for a point in its own box that is less than 30 px from the right one. The first 120 of each count. Where
the right list is empty, an empty answer is worth all of `formed` and `matched`.
Source: dvlab-research/Seg-Zero, verl/utils/reward_score/vision_reasoner.py, by the same authors. Assumed: that ViSurf
(arXiv:2510.10606) has this reward, and what an empty list is worth, which is 0 there. Its own is `group`.
"""

import json
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import msgspec

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "formed", "matched", "unrepeated")
whole = of_last_reply
framed = visual_rft.framed
_MOST_OBJECTS = 120


class Object(msgspec.Struct):
    """An object: left, top, right, bottom, and a point in it, px."""

    bbox_2d: tuple[float | bool, float | bool, float | bool, float | bool]
    point_2d: tuple[float | bool, float | bool]


def formed(sample: Sample, context: RewardContext) -> float:
    """Share of the answer's objects with four sides, and of those with two coordinates, added: 0 to 2."""
    listed = _listed(sample)
    if listed == [] == _right(sample):
        return 2.0
    parts = 0
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) and (not isinstance(each, list | str) or "bbox_2d" in each or "point_2d" in each):
            break
        parts += sum(
            isinstance(each, dict) and isinstance(each.get(name), list) and len(each[name]) == count
            for name, count in (("bbox_2d", 4), ("point_2d", 2))
        )
    return parts / len(listed) if isinstance(listed, list) and listed else 0.0


def matched(sample: Sample, context: RewardContext) -> float:
    """What pairs of the answer's and the row's objects are worth, by the greater number of objects: 0 to 3."""
    from virc_extras.studies.box_sets import assigned

    right, listed = _right(sample), _listed(sample)
    if listed == [] == right:
        return 3.0
    try:
        said = msgspec.convert(listed, list[Object])[:_MOST_OBJECTS]
    except (msgspec.ValidationError, OverflowError):
        return 0.0
    if not said or not right:
        return 0.0
    gains = [[_worth(one, other) for other in right] for one in said]
    return sum(gains[one][other] for one, other in assigned(gains)) / max(len(said), len(right))


def unrepeated(sample: Sample, context: RewardContext) -> float:
    """Whether at most one sentence of the reply is a repeated one: 1 or 0."""
    sentences = [part for each in sample.text.split(".") if (part := each.strip())]
    return float(len(sentences) - len({*sentences}) < 2)


def _listed(sample: Sample) -> Any:
    try:
        return json.loads(next(between(sample.text), ""))
    except (ValueError, RecursionError):
        return None


def _right(sample: Sample) -> list[Object]:
    try:
        return msgspec.json.decode(sample.prompt.record.answer or "", type=list[Object])[:_MOST_OBJECTS]
    except msgspec.MsgspecError:
        raise UnscoredError("the row's answer is no list of objects") from None


def _worth(said: Object, right: Object) -> int:
    one, other = said.bbox_2d, right.bbox_2d
    shared = math.prod(max(0, min(one[at + 2], other[at + 2]) - max(one[at], other[at]) + 1) for at in (0, 1))
    union = sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)) - shared
    inside = all(one[at] <= said.point_2d[at] <= one[at + 2] for at in (0, 1))
    return (
        int(union != 0 and shared / union > 0.5)
        + int(fmean(abs(side - its) for side, its in zip(one, other, strict=True)) < 10)
        + int(inside and math.dist(said.point_2d, right.point_2d) < 30)
    )


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.formed + t.matched + t.unrepeated)


def group(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The rewards, that of the stored reply, the last, as the mean of the drawn ones where one of these is as good."""
    *drawn, stored = rewards
    return [*drawn, fmean(drawn) if drawn and max(drawn) >= stored else stored]
