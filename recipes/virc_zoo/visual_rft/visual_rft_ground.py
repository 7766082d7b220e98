r"""The reward of Visual-RFT for the one box that a sentence means: its generalized IoU + 1, and the format.

A box is `(x1,y1),(x2,y2)` in whole thousandths; of several, the program takes the first corners of the first two for
one box. An answer without a box is worth 0, one that is the solution letter by letter 2. Sides the wrong way round are
not put right: such a box may be worth any number, under 0 or over 3, which a box with its sides the right way round is
not. A number of more than 99 digits is none. The solution is the row's `answer` where that is such a box, else the
first of its `boxes`.
Where math-verify finds the same in the whole reply and the whole solution, the box is worth 1, whatever it is.
Source: Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo_lisa.py (arXiv:2503.01785, section 3.2).
"""

import re
from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Prompt, Sample
from virc.scoring import boxes as geometry
from virc_zoo.delimiters import between
from virc_zoo.graders import texts_agree
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "generalized")
whole = of_last_reply
framed = visual_rft.framed
_PAIR = r"\(\s*(\d{1,99})\s*,\s*(\d{1,99})\s*\)"
_BOX = re.compile(rf"{_PAIR}\s*,\s*{_PAIR}")


async def generalized(sample: Sample, context: RewardContext) -> float:
    """GIoU + 1 of the answer and the solution; 0 without a box, 2 where they are the same text, 1 by math-verify.

    From 0 to 2, but any number of a box whose sides are the wrong way round.
    """
    said, right = next(between(sample.text), sample.text).strip(), _solution(sample.prompt)
    if await texts_agree(sample.text, f"<answer> {right} </answer>"):
        return 1.0
    if said == right:
        return 2.0
    one, other = _corners(right), _corners(said)
    return _giou(one, other) + 1 if one and other else 0.0


def _solution(prompt: Prompt) -> str:
    """The right box, as it is written."""
    answer = prompt.record.answer or ""
    if _BOX.search(answer):
        return answer.strip()
    boxes = geometry.boxes_of_row(prompt.columns)
    if not boxes:
        raise UnscoredError("the row has no boxes")
    sides = prompt.original * 2
    left, top, right, bottom = (round(1000 * at / side) for at, side in zip(boxes[0], sides, strict=True))
    return f"({left},{top}),({right},{bottom})"


def _corners(text: str) -> geometry.Box | None:
    """The two corners that a text is read as; None where it holds no box."""
    found = [[int(number) / 1000 for number in each[:4]] for each in _BOX.findall(text)]
    corners = [*(each[:2] for each in found), *(each[2:] for each in found)]
    return (*corners[0], *corners[1]) if found else None  # type: ignore[return-value]


def _giou(one: geometry.Box, other: geometry.Box) -> float:
    """As `scoring.boxes` has it, but that sides the wrong way round have areas under 0."""
    shared = geometry.intersection(one, other)
    union = _area(one) + _area(other) - shared
    around = _area((min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])))
    overlap = shared / union if union > 0 else 0.0
    return overlap - (around - union) / around if around > 0 else overlap


def _area(box: geometry.Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.generalized)
