"""The reward of RRVF: how alike the picture and the drawing of the answer's code are, the form, and the calls.

    R = 0.2 * similar + 0.8 * (formed - 1) + 1.0 * drew

    similar: the judge's grade of both pictures, 0 to 10, by 10; 0 where the answer's code draws nothing
    formed: 1 where the reply keeps to its marks and answers, and the code of the answer draws; else 0
    drew: 1 where a call before the answer drew something

From -0.8 to 1.2; a rollout that ends in a call is worth -0.8. Terms are of answers, and of what is no reply.
Source: L-O-I/RRVF@2cf40ee, README.md, Reinforcement Learning Optimization: a reward for likeness by a visual judge, one
that penalizes a wrong form and code that does not run, and one for successful calls. The weights are those that a
reproduction of arXiv:2507.20766 reports (multimodal-verification-board, RRVF Reproduction: vision 0.2, format 0.8, tool
1.0). Assumed: that a wrong form costs all of its weight, that one successful call is enough, and the judge's question.
"""

import asyncio
from typing import Any

from PIL import Image

from virc.backends.interface import Sampling
from virc.reasoning.calls import ToolError
from virc.reasoning.images import show
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Message
from virc.rewards import pictures
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, grade
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply
from virc_zoo.rrvf.tools import redraw

TERMS = ("similar", "formed", "drew")
whole = of_last_reply
QUESTION = (
    "The first picture was to be drawn anew by code, and the second is what the code drew. How alike are they in "
    "layout, kinds of plots, colours, numbers and texts, from 0 for nothing alike to 10 for the same? Reply with the "
    "number alone."
)


@asks()
async def similar(sample: Sample, context: RewardContext) -> float | None:
    """How alike the judge finds both pictures: 0 to 1; 0 without an answer whose code draws."""
    if sample.kind == "tool":
        return None
    drawn = await _drawn(sample)
    if drawn is None:
        return 0.0
    both = [pictures.as_shown(sample.prompt, 0), show(drawn, QWEN2)]
    ask = Ask([Message("user", QUESTION, (0, 1))], both)
    found = await context.asked().verdict("similar", ask, Sampling(temperature=0, max_tokens=64), 1, grade(0, 10))
    sample.why["similar"] = found.why
    return found.value or 0.0


async def formed(sample: Sample, context: RewardContext) -> float | None:
    """Whether the reply is an answer in its marks whose code draws: 1 or 0."""
    return None if sample.kind == "tool" else float(await _drawn(sample) is not None)


def drew(sample: Sample, context: RewardContext) -> float | None:
    """Whether a call before the answer drew something: 1 or 0."""
    if sample.kind == "tool":
        return None
    return float(any(each.tool and each.tool.name == redraw.NAME and not each.fault for each in sample.prompt.calls))


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.2 * (t.similar or 0) + 0.8 * ((t.formed or 0) - 1) + (t.drew or 0))


async def _drawn(sample: Sample) -> Image.Image | None:
    """What the code of the answer draws; None where it draws nothing."""
    if sample.answer is None:
        return None
    try:
        protocol = sample.prompt.protocol or own_protocol([])
        return await asyncio.to_thread(redraw.drawing, sample.answer, protocol)
    except ToolError as error:
        sample.why["formed"] = str(error)
        return None
