"""The reward of GRiP: the answer, the form, boxes by how much they matter, and a sound way of reasoning.

    R = right + formed + found + reasoned

    right: 1 where the answer is right by rule or algebra
    formed: 1 where the reply is a marked thought, and behind it a marked answer (`visual_rft.framed`)
    found: sum of salience * IoU over the row's boxes, by the sum of their salience; the boxes of the thought are
        matched with those of the row one to one, so that the sum is greatest (`scoring.box_sets`). The row's column
        `salience` has a weight over 0 for each of its `boxes`; without it all weigh alike. Rows without `boxes`: 0
    reasoned: 1 where the judge finds that the thought takes one of several ways, and no unsound step

From 0 to 4. The question to the judge stands in `judge.yaml`.
Source: arXiv:2511.22172 (GRiP), abstract, and the card of TencentBAC/GRiP: the reward is the sum of accuracy, format,
IoU weighted by salience, and several heuristics that reward different sound ways of reasoning. There is no code.
Assumed: that boxes are matched one to one, what the heuristics are, and that each part is from 0 to 1.
"""

import re
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, choice, published
from virc.rewards.sample import Sample
from virc.rewards.terms.answers import graded
from virc.scoring.boxes import boxes_of_row, read_boxes
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("right", "formed", "found", "reasoned")
whole = of_last_reply
ASKED = published(Path(__file__).with_name("judge.yaml"), choice({"a": 1.0, "b": 1.0, "c": 1.0, "n": 0.0}))
_BOX = re.compile(r"<box>([^<]*)</box>")
_SALIENCE = "salience"
formed = visual_rft.framed


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is right: 1 or 0."""
    return 0.0 if sample.answer is None else await graded(sample.answer, sample, context)


def found(sample: Sample, context: RewardContext) -> float:
    """How well the boxes between <box> and </box> cover those of the row, by their salience: 0 to 1."""
    from virc_extras.studies.box_sets import weighted_overlap

    prompt = sample.prompt
    wanted = boxes_of_row(prompt.columns)
    if not wanted:
        return 0.0
    said = [each.box for text in _BOX.findall(sample.text) for each in read_boxes(text, prompt.view, prompt.original)]
    try:
        return weighted_overlap(said, wanted, prompt.columns.get(_SALIENCE))
    except (TypeError, ValueError) as error:
        raise DataError(f"the row's salience is wrong: {error}") from None


@asks(ASKED)
async def reasoned(sample: Sample, context: RewardContext) -> float:
    """Whether the judge finds a sound way of reasoning in the thought: 1 or 0; 0 without a thought."""
    if not (sample.turn and sample.turn.think):
        return 0.0
    verdict = await ASKED.asked(sample, context, "reasoned")
    sample.why["reasoned"] = verdict.why
    return verdict.value or 0.0


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.right + t.formed + t.found + t.reasoned)
