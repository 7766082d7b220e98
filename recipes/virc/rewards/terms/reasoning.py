"""How good the thought of a tool call is after the thoughts before it: a judge's score, 0 to 1.

Source: the published reward, which shows the judge the first image, the question, the answer and the thoughts.
"""

from typing import TYPE_CHECKING

from virc.rewards import published
from virc.rewards.terms.focus import first_image

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "reasoning"


async def score(sample: "Sample", means: "Means") -> float | None:
    """The judge's score."""
    if sample.kind != "tool" or sample.turn is None:
        return None
    prompt = sample.prompt
    asked = {
        "question": prompt.question,
        "answer": prompt.key.answer,
        "earlier": " ".join(prompt.thoughts),
        "latest": sample.turn.think,
    }
    found = await means.asked().ask(NAME, asked, [first_image(prompt)], published.read_reasoning)
    sample.why[NAME] = found.why
    return found.value
