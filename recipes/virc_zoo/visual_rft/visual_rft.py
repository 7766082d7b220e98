r"""The reward of Visual-RFT for detection: how well boxes match, how sure it is of the right ones, and the format.

An answer on one line is read as JSON, a list of objects with `Position` and `Confidence`; single quotes, `[[` and a
list that was cut off are put right, and whatever else is wrong in it makes both 0. The box of the highest confidence
takes the one that it overlaps most, if their IoU is over 0.5, then the next; a repeated position counts once.

    matching: the sum of the IoU of pairs, by the greater number of boxes
    confidence: the mean over the answer's boxes, of matched ones their confidence, of others 1 - confidence
    framed: 1 where the reply is <think>...</think> and behind it <answer>...</answer>

From 0 to 3. Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py (arXiv:2503.01785, section 3.2). What differs:

- there math-verify is asked first about the whole texts of reply and solution: where the one number that it finds in
  each is the same, which is by chance, matching and confidence are 1;
- a position that is no four numbers makes both 0, there where it is compared only;
- a confidence that is no number (NaN) counts as 0.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.rewards.means import UnscoredError
from virc.scoring import boxes as geometry
from virc_zoo.delimiters import on_one_line

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Prompt, Sample

TERMS = ("framed", "matching", "confidence")
"""They stand below, in place of the common terms of the same names."""
_BEGIN, _BETWEEN, _END = "<think>", re.compile(r"</think>\s*<answer>"), "</answer>"
_MATCH = 0.5  # what the IoU of a matched pair must be over


def framed(sample: "Sample", means: "Means") -> float:
    """Whether the reply is a marked thought, and behind it a marked answer: 1 or 0."""
    text = sample.text
    between = _BETWEEN.search(text, len(_BEGIN)) if text.startswith(_BEGIN) else None
    return float(between is not None and text.endswith(_END, between.end()))


def matching(sample: "Sample", means: "Means") -> float:
    """How well the answer's boxes match the row's: the sum of IoU over 0.5, by the greater number, 0 to 1."""
    right, pairs = _matched(sample)
    return sum(overlap for _, overlap in pairs) / max(len(right), len(pairs)) if pairs else 0.0


def confidence(sample: "Sample", means: "Means") -> float:
    """Whether the answer is sure of the right boxes: mean confidence of matched ones, 1 - confidence of others."""
    _, pairs = _matched(sample)
    sure = [each.confidence if overlap else 1 - each.confidence for each, overlap in pairs]
    return min(1.0, max(0.0, sum(sure) / len(sure))) if sure else 0.0


def answer_of(reply: str) -> str:
    """What stands between the marks of an answer on one line; without such an answer, all of the reply."""
    found = on_one_line(reply)
    return (reply if found is None else found).strip()


def _matched(sample: "Sample") -> tuple[Sequence[geometry.Box], Sequence[tuple[geometry.PredictedBox, float]]]:
    """The boxes of the row, and those of the answer with the IoU of their matches; none where it cannot be read."""
    right = geometry.boxes_of_row(sample.prompt.columns)
    if right is None:
        raise UnscoredError("the row has no boxes")
    try:
        found = [_box(each, sample.prompt) for each in _listed(answer_of(sample.text))]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return right, []
    return right, geometry.match(geometry.distinct(found), right, _MATCH)


def _listed(answer: str) -> list[Any]:
    """The list that an answer is, as far as it goes; raises ValueError where it is none."""
    text = answer.replace("[[", "[").replace("]]", "]").replace("\n", "").partition("</answer>")[0]
    if not text.endswith("]"):  # it was cut off
        text = text.rsplit("},", 1)[0] + "}]"
    found = json.loads(text.replace("'", '"'))
    if not isinstance(found, list):
        raise ValueError
    return found


def _box(written: Any, prompt: "Prompt") -> geometry.PredictedBox:
    left, top, right, bottom = map(_number, written["Position"])
    box = geometry.in_pixels((left, top, right, bottom), prompt.view, prompt.original)
    return geometry.PredictedBox(box, _number(written["Confidence"]))


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError
    return float(value)


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.matching + t.confidence)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply."""
    return units[-1]
