r"""The reward of ViGoRL's visual search in several turns: a right answer, and turns in order with points apart.

    0.6 * matched + 0.4 * orderly, which is 0, or 1 + 0.2 for each further point

All of it is of the completion as one text without special tokens, with the turns that bring images. From 0 to 1 and
more.
Source: Gabesarch/grounded-rl@e7970c0, src/trainer/rl/examples/reward_function/string_match_multiturn.py. There a
rollout that was cut within a reply is not learnt from.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.deepeyes.deepeyes import completion
from virc_zoo.rollouts import of_last_reply

Point = tuple[float, float]
"""x and y in pixels."""
TERMS = ("matched", "orderly")
whole = of_last_reply
_MIN_DISTANCE = 10.0  # pixels
_BONUS = 0.2  # for each further place
_MARKS = re.compile(r"<(/?)(tool_call|observation|think|answer)>", re.IGNORECASE)
_NEXT = {
    "": ("<think>",),
    "<think>": ("</think>",),
    "</think>": ("<tool_call>", "<answer>"),
    "<tool_call>": ("</tool_call>",),
    "</tool_call>": ("<observation>",),
    "<observation>": ("</observation>",),
    "</observation>": ("<think>",),
    "<answer>": ("</answer>",),
    "</answer>": (),
}
"""Mark -> those that may be the next one; first of all comes a thought."""
_CALL = "<tool_call>"
_SPECIAL = re.compile(r"<\|[a-z_]{1,20}\|>")
_LAST = re.compile(r"</answer>\s*(<\|im_end\|>)?\Z")
_OPENS, _CLOSES = re.compile("<answer>", re.IGNORECASE), re.compile("</answer>", re.IGNORECASE)


def matched(sample: Sample, context: RewardContext) -> float:
    """Whether the first answer of the completion, or all of it, is the row's but for letter case: 1 or 0."""
    text = _decoded(sample)
    opens = _OPENS.search(text)  # one pattern for both marks would take the square of the text's length
    closes = opens and _CLOSES.search(text, opens.end())
    said = text[opens.end() : closes.start()] if opens and closes else text
    return float(said.strip().lower() == (sample.prompt.record.answer or "").strip().lower())


def orderly(sample: Sample, context: RewardContext) -> float:
    """1 where thoughts, calls, observations and the answer follow each other and every call names a point, and 0.2
    more for each further point that is 10 pixels from those before; else 0.
    """
    text = _decoded(sample).strip()
    _, opens, rest = text.partition("<answer>")
    answer, closes, _ = rest.partition("</answer>")
    if not (_LAST.search(text) and _in_order(text) and opens and closes and answer.strip()):
        return 0.0
    points = _points(text)
    return 0.0 if points is None else 1.0 + apart_bonus(points)


def _decoded(sample: Sample) -> str:
    """The completion as the program decodes it: verl/workers/reward/config.py, skip_special_tokens."""
    return _SPECIAL.sub("", completion(sample))


def apart_bonus(points: Sequence[Point]) -> float:
    """A bonus for each point but the first that is `_MIN_DISTANCE` or more from all that counted before.

    Source: src/trainer/rl/examples/reward_function/point_in_bbox_multicrop.py, format_reward.
    """
    apart = list[Point]()
    for point in points:
        if all(math.dist(point, other) >= _MIN_DISTANCE for other in apart):
            apart.append(point)
    return _BONUS * max(0, len(apart) - 1)


def _in_order(text: str) -> bool:
    before = ""
    for found in _MARKS.finditer(text):
        mark = found[0].lower()
        if mark not in _NEXT[before]:
            return False
        before = mark
    return before == "</answer>"


def _points(text: str) -> list[Point] | None:
    """The points of all calls; None where one names none."""
    found = []
    for body in _calls(text):
        try:
            point = json.loads(body).get("arguments", {}).get("coordinate")
        except (ValueError, AttributeError, RecursionError):
            return None
        if not isinstance(point, list) or len(point) != 2 or not all(isinstance(each, int) for each in point):
            return None
        found.append((float(point[0]), float(point[1])))
    return found


def _calls(text: str) -> list[str]:
    """What stands between the marks of calls and is an object; what is none is passed over, as published."""
    inner = (part.partition("</tool_call>") for part in text.split(_CALL)[1:])
    return [body.strip() for body, end, _ in inner if end and body.strip().startswith("{") and body.strip()[-1] == "}"]


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.6 * t.matched + 0.4 * t.orderly)
