"""How well the region a tool call shows matches the one annotated: intersection over union, 0 to 1; without a judge.

Both are regions of an input, whichever crop of it they are written on. Annotated is `box` of the row (left, top, right,
bottom in pixels of the first image's file), else the region that the row's reference reply shows; where that answers,
there is nothing to look at, and no region has a point.
Source: Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010, section 4.2.
"""

from typing import TYPE_CHECKING

import msgspec

from virc.core.errors import DataError
from virc.rewards import boxes
from virc.rewards.means import UnscoredError
from virc.rewards.sample import sample as read

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Prompt, Sample
    from virc.tools.registry import Call

NAME = "overlap"
Region = tuple[int, float, float, float, float]
"""Index of an input, and left, top, right, bottom as shares of its sides."""


def score(sample: "Sample", means: "Means") -> float | None:
    """IoU of the two regions; 0 where they are of different inputs."""
    if sample.kind != "tool" or sample.call is None:
        return None
    wanted = _annotated(sample.prompt)
    if wanted is None and sample.prompt.reference:
        sample.why[NAME] = "the reference looks at nothing"
        return 0.0
    if wanted is None:
        raise UnscoredError("the row has no box, nor a reference that calls a tool")
    return _iou(_region(sample.call, sample.prompt), wanted)


def _annotated(prompt: "Prompt") -> Region | None:
    box = prompt.columns.get("box")
    if box is not None:
        try:
            left, top, right, bottom = msgspec.convert(box, tuple[float, float, float, float])
        except msgspec.ValidationError:
            raise DataError("the row's box is not four numbers") from None
        width, height = prompt.original
        return 0, left / width, top / height, right / width, bottom / height
    call = read(prompt.reference, prompt).call if prompt.reference else None
    return _region(call, prompt) if call else None


def _region(call: "Call", prompt: "Prompt") -> Region:
    """What a call shows, through all the crops that its image was made by."""
    root, left, top, right, bottom = 0, 0.0, 0.0, 1.0, 1.0
    made: Call | None = call
    while made:
        root = made.index
        if made.box:
            (width, height), box = prompt.view.sizes[root], made.box
            left, right = ((box[0] + side * (box[2] - box[0])) / width for side in (left, right))
            top, bottom = ((box[1] + side * (box[3] - box[1])) / height for side in (top, bottom))
        made = prompt.made_by[root]
    return root, left, top, right, bottom


def _iou(one: Region, other: Region) -> float:
    return boxes.iou(one[1:], other[1:]) if one[0] == other[0] else 0.0
