"""Worked solutions of drawn problems: crop one spot after the other, state what each shows, then compute.

The steps are those of the published data: plan, crop, crop again to verify, answer. A pattern says which of them a
path has; every path of a problem reads the same labels and ends in the same sums. The path `direct` reads them in the
overview: what a control without tools learns.
"""

import json
import random
import re
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from virc.reasoning.calls import Box, Region, Size
from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.scoring.score import UNREADABLE
from virc.tools.registry import schemas

# The chat protocol of every trajectory made here: the datasets of `virc data synth` and what `tiny` is trained on.
TOOLS = ("crop_image", "scale_image", "display_image")
PROTOCOL = own_protocol(schemas(TOOLS))

CANNOT = "I cannot read this picture."
AGAIN = "Look again to be sure."
AGREES = "That agrees."
SMALL = "It is too small to read."
FOUND = "That is the one."  # of a value that is printed and asked for
REFUSAL = f"<think>{CANNOT}</think>\n<answer>{UNREADABLE}</answer>"

_BOX = re.compile(r'"bbox_2d": (\[[\d, ]+\]), "image_index": (\d+)')

Pattern = Literal["look", "plan", "verify", "plan+verify", "direct"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)[:-1]
"""Crops and an answer; with a plan before; with a second crop of one spot at the end; with both."""


class Spot(msgspec.Struct, frozen=True):
    """A place of the picture that has to be read.

    Args:
        box: the crop, px.
        again: another box around the same label, for a second crop.
        reads: what the crop shows, in words.
        around: a larger box that is cropped first, to crop `box` from what it shows; px of the picture, too.
    """

    box: Box
    again: Box
    reads: str
    around: Box | None = None


class Solution(msgspec.Struct, frozen=True):
    """The content of every path of a problem.

    Args:
        noun: what the spots are, in the singular.
        plan: what is needed and how the answer follows from it.
        spots: in the order in which they are cropped; as many as are needed.
        sums: the computation of the answer.
        needed: indices of the spots that the answer depends on; None for all.
        wanted: what the question needs, repeated in every reply: a small model compares texts that are side by side,
            not a reading with a question ten turns before it. Empty where no comparison is needed.
    """

    noun: str
    plan: str
    spots: Sequence[Spot]
    sums: str
    answer: str
    needed: Sequence[int] | None = None
    wanted: str = ""


def searched(noun: str, spots: Sequence[Spot], wanted: str = "") -> Solution:
    return Solution(noun, "", spots, CANNOT, UNREADABLE, wanted=wanted)


def replies(solution: Solution, pattern: Pattern = "look", rng: random.Random | None = None) -> list[str]:
    """The assistant turns of one path; `rng` chooses the spot of a second crop, None: the last."""
    if pattern == "direct":
        seen = [spot.reads for spot in solution.spots]
        return [_answer([*seen, solution.wanted, solution.sums], solution.answer)]
    turns: list[str] = []
    thoughts = [solution.plan if "plan" in pattern else solution.wanted]
    for number, spot in enumerate(solution.spots):
        thoughts.append(f"Look at the {'next' if number else 'first'} {solution.noun}.")
        turns += _crops(thoughts, spot, spot.box, len(turns))
        thoughts = [spot.reads, solution.wanted]
    if "verify" in pattern:
        needed = solution.spots if solution.needed is None else [solution.spots[at] for at in solution.needed]
        spot = rng.choice(needed) if rng else needed[-1]
        turns += _crops([*thoughts, AGAIN], spot, spot.again, len(turns))
        thoughts = [spot.reads, AGREES, solution.wanted]
    return [*turns, _answer([*thoughts, solution.sums], solution.answer)]


def as_shown(reply: str, images: Sequence[Shown], page: Size) -> str:
    """A reply whose boxes are in px of the picture, with those of the images as shown that it names.

    Args:
        images: shown before it, the first of which is the picture.
        page: (width, height) in px of the picture.
    """
    return _BOX.sub(lambda found: _boxed(json.loads(found[1]), images, int(found[2]), page), reply)


def _boxed(box: Sequence[int], images: Sequence[Shown], index: int, page: Size) -> str:
    left, top, right, bottom = _part(images, index)
    width, height = images[index].size
    across, down = width / (right - left), height / (bottom - top)
    parts = [side / length for side, length in zip(box, page * 2, strict=True)]
    sides = [(part - start) * by for part, start, by in zip(parts, (left, top) * 2, (across, down) * 2, strict=True)]
    return f'"bbox_2d": {[round(side) for side in sides]}, "image_index": {index}'


def _part(images: Sequence[Shown], index: int) -> Region:
    shown = images[index]
    if shown.parent is None:
        return 0, 0, 1, 1
    left, top, right, bottom = _part(images, shown.parent)
    if shown.box is None:
        return left, top, right, bottom
    width, height = images[shown.parent].size
    across, down = (right - left) / width, (bottom - top) / height
    inner = shown.box
    return left + inner[0] * across, top + inner[1] * down, left + inner[2] * across, top + inner[3] * down


def _crops(thoughts: Sequence[str], spot: Spot, box: Box, made: int) -> list[str]:
    turns = [_crop(thoughts, spot.around or box, 0)]
    if spot.around:
        turns.append(_crop([SMALL], box, made + 1))
    return turns


def _crop(thoughts: Sequence[str], box: Box, index: int) -> str:
    call = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": list(box), "image_index": index}})
    return f"{_thought(thoughts)}\n<tool_call>\n{call}\n</tool_call>"


def _answer(thoughts: Sequence[str], answer: str) -> str:
    return f"{_thought(thoughts)}\n<answer>{answer}</answer>"


def _thought(thoughts: Sequence[str]) -> str:
    return f"<think>{' '.join(filter(None, thoughts))}</think>"
