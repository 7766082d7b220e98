"""The reward of VLAA-Thinking as far as it is public: by where a row is from, a right answer or the overlap of a box.

Where a row is from, its `id` begins with. Of CLEVR-Math (numbers), GeoQA170K and ArxivQA (letters) and Math PUMA
(formulas), 1 where the answer is right by rule or algebra; of COCO and Visual Genome, the IoU of the first box of the
answer and that of the row, as four numbers in one unit. An answer without its marks is worth 0. From 0 to 1.
Rows of DocVQA, VizWiz and ALLaVA are scored by InternLM-XComposer2.5-Reward there, by 1 - exp(-(S - S')b) with a factor
that is not published: they have no reward here, and a run on them does not start.
Source: UCSC-VLAA/VLAA-Thinking, README.md (Dataset Card, GRPO with Mixed Reward), and arXiv:2504.11468, section 4.1;
there is no code of training.
"""

import re
from typing import Any

from virc.core.errors import DataError
from virc.core.text import plain
from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc.rewards.terms.answers import graded
from virc.scoring.boxes import Box, iou
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "overlap")
"""Both stand below, the second in place of the common term of that name."""
whole = of_last_reply
_ANSWERED = ("clevr_math", "geoqa170k", "synthesis", "arxivqa", "chartqa")
_BOXES = ("coco", "vg")
_OPEN = ("docvqa", "vizwiz", "allava", "allava_laion")
_NUMBER = re.compile(r"-?\d*\.?\d+")


async def right(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right: 1 or 0; of rows with a number, a letter or a formula."""
    if _source(sample) not in _ANSWERED:
        return None
    return 0.0 if sample.answer is None else await graded(sample.answer, sample, context)


def overlap(sample: Sample, context: RewardContext) -> float | None:
    """IoU of the boxes in the answer and in the row's, 0 to 1; of rows with a box."""
    if _source(sample) not in _BOXES:
        return None
    said, wanted = _box(sample.answer or ""), _box(sample.prompt.key.answer)
    if wanted is None:
        raise DataError("the row's answer is no box of four numbers")
    return iou(said, wanted) if said else 0.0


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.overlap if t.right is None else t.right)


def _source(sample: Sample) -> str:
    """Which dataset a row is from."""
    name = str(sample.prompt.record.id)
    source = next((each for each in (*_ANSWERED, *_BOXES, *_OPEN) if name.startswith((f"{each}-", f"{each}/"))), None)
    if source is None:
        raise DataError(f"the id {plain(name, 40)!r} begins with no dataset of VLAA-Thinking")
    if source in _OPEN:
        raise UnscoredError(f"needs a reward model for open-ended rows, such as those of {source}")
    return source


def _box(text: str) -> Box | None:
    """The first four numbers of a text."""
    found = [float(each) for each in _NUMBER.findall(text)[:4]]
    return (found[0], found[1], found[2], found[3]) if len(found) == 4 else None
