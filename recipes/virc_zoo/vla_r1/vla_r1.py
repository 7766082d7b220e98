"""The reward of VLA-R1: how near a box or a path is to the row's, and the format.

    0.9 * near + 0.1 * framed

What is read is the JSON in the first <output>...</output> of the reply. A box is an object with `x` and `y`, its
centre, `width` and `height`; a path is a list of points `[x, y]`; all in shares of the sides, and what is outside the
picture is brought to its edge. `near` is, of a row whose answer is a box, (GIoU + 1) / 2; of a row with a path,
1 - d / most, where d is the discrete Fréchet distance with the costs of `paths.oriented` and `most` is
sqrt(2) + 0.25 pi + 0.1 log 10, 0 at least; 0 where the reply has the other of both, or neither. `framed` is 1 where
there is such JSON, other than null, and a thought in <think>...</think>; tags have no letter case. From 0 to 1.

Source: GigaAI-research/VLA-R1, RFT_training/train_utils/robot_bbox_traj_norm.py. What differs:

- a row whose answer is neither a box nor a path ends the run; there only the format counts in it;
- a number that is none (NaN) counts as 0; there the reward may become NaN;
- a path so long that Python's recursion ends, about 990 points with those of the row, is worth 0 there;
- boxes of less than a millionth of a millionth of the picture are worth up to 1 there, wherever they are.
"""

import json
import math
import re
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc.scoring.boxes import Box, giou
from virc_zoo.paths import Point, frechet, oriented
from virc_zoo.rollouts import of_last_reply

TERMS = ("framed", "box", "path")
whole = of_last_reply
_SIDES = ("x", "y", "width", "height")
_MOST = math.sqrt(2) + 0.25 * math.pi + 0.1 * math.log(10)
"""The distance from which a path is worth nothing: of opposite corners, directions the wrong way, ten times as long."""
_WRONG = (ValueError, TypeError, OverflowError)
"""What Python raises where a text or a value is no number that it can hold."""


def framed(sample: Sample, context: RewardContext) -> float:
    """Whether there are a marked thought and a marked output that is JSON: 1 or 0."""
    return float(_between(sample.text, "think") is not None and _output(sample.text) is not None)


def box(sample: Sample, context: RewardContext) -> float | None:
    """How near the box is to the row's: (GIoU + 1) / 2, 0 to 1; of rows with a box."""
    right, said = _answer(sample), _output(sample.text)
    if not _is_box(right):
        return None
    try:
        return (giou(_corners(said), _corners(right)) + 1) / 2 if _is_box(said) else 0.0
    except _WRONG:
        return 0.0


def path(sample: Sample, context: RewardContext) -> float | None:
    """How near the path is to the row's, by places, directions and lengths: 0 to 1; of rows with a path."""
    right, said = _answer(sample), _output(sample.text)
    if _is_box(right):
        return None
    try:
        return max(0.0, 1 - frechet(_points(right), _points(said), oriented) / _MOST) if _is_path(said) else 0.0
    except _WRONG:
        return 0.0


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.9 * (t.path if t.box is None else t.box) + 0.1 * t.framed)


def _answer(sample: Sample) -> Any:
    """The row's answer, a box or a path."""
    found = _parsed(sample.prompt.record.answer or "")
    if not (_is_box(found) or (_is_path(found) and found)):
        raise DataError("the row's answer is neither a box nor a path of VLA-R1, as JSON")
    return found


def _output(text: str) -> Any:
    """What the JSON in the first output of a reply is; None where there is none, or null."""
    inner = _between(text, "output")
    return None if inner is None else _parsed(inner)


def _between(text: str, tag: str) -> str | None:
    """The text in the first such tag; None without both marks."""
    first = re.search(f"<{tag}>", text, re.IGNORECASE)
    last = first and re.compile(f"</{tag}>", re.IGNORECASE).search(text, first.end())
    return text[first.end() : last.start()] if first and last else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.strip())
    except (ValueError, RecursionError):
        return None


def _is_box(value: Any) -> bool:
    return isinstance(value, dict) and all(side in value for side in _SIDES)


def _is_path(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value)


def _corners(value: Any) -> Box:
    """Left, top, right, bottom of a box, in shares of the sides."""
    x, y, width, height = (float(value[side]) for side in _SIDES)
    across, down = abs(width) / 2, abs(height) / 2
    return _within(x - across), _within(y - down), _within(x + across), _within(y + down)


def _points(value: Any) -> list[Point]:
    return [(_within(float(x)), _within(float(y))) for x, y in value]


def _within(place: float) -> float:
    """A place brought into the picture; one that is no number is at its edge."""
    return min(1.0, max(0.0, place))
