"""How well a tool call looks where its thought says: a judge's score, 0 to 1.

Source: the published reward, which shows the judge the first image, the question, the answer, the thought and the
image that the call leads to.
"""

from typing import TYPE_CHECKING

from virc.reasoning.images import Shown, show
from virc.reasoning.resize import QWEN2, smart_resize
from virc.rewards import published
from virc.tools import registry as tools

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Prompt, Sample
    from virc.tools.registry import Call

NAME = "focus"


async def score(sample: "Sample", means: "Means") -> float | None:
    """The judge's score; 0 where the result of the call cannot be shown."""
    if sample.kind != "tool" or sample.turn is None or sample.call is None:
        return None
    judge, prompt = means.asked(), sample.prompt
    asked = {"question": prompt.question, "answer": prompt.key.answer, "latest": sample.turn.think}
    try:
        looked = result(sample.call, prompt)
    except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
        sample.why[NAME] = str(error)
        return 0.0
    found = await judge.ask(NAME, asked, [first_image(prompt), looked], published.read_focus)
    sample.why[NAME] = found.why
    return found.value


def first_image(prompt: "Prompt") -> Shown:
    """The first image of the problem as it was shown."""
    image = prompt.images[0]
    return image.pixels(smart_resize(*image.size) if prompt.strict == "published" else prompt.view.sizes[0])


def result(call: "Call", prompt: "Prompt") -> Shown:
    """The image that a call leads to.

    Raises:
        ValueError: it cannot be shown.
    """
    source = prompt.images[call.index]
    if prompt.strict == "published":
        return published.apply(call, source.pixels().pixels)
    shown = source.pixels(prompt.view.sizes[call.index])
    return show(tools.get(call.name).apply(call, shown.pixels), QWEN2)
