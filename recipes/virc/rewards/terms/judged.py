"""What a judge says of tool calls and of the thoughts before them."""

from virc.reasoning.calls import Call, Result
from virc.reasoning.images import Shown, show
from virc.reasoning.resize import QWEN2, smart_resize
from virc.rewards import published
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, Sample
from virc.rewards.terms import term
from virc.tools import registry as tools


@term
async def focus(sample: Sample, means: Means) -> float | None:
    """How well a tool call looks at what its thought says: a judge's score, 0 to 1.

    0 where the result of the call cannot be shown. Source: the published reward, which shows the judge the first image,
    the question, the answer, the thought and the image that the call leads to.
    """
    if sample.kind != "tool" or sample.turn is None or sample.call is None:
        return None
    judge, prompt = means.asked(), sample.prompt
    texts = {"question": prompt.question, "answer": prompt.key.answer, "latest": sample.turn.think}
    try:
        result = _result(sample.call, prompt)
    except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
        sample.why["focus"] = str(error)
        return 0.0
    found = await judge.ask("focus", texts, [_first_image(prompt), result], published.read_focus)
    sample.why["focus"] = found.why
    return found.value


@term
async def reasoning(sample: Sample, means: Means) -> float | None:
    """How good the thought of a tool call is after the thoughts before it: a judge's score, 0 to 1.

    Source: the published reward, which shows the judge the first image, the question, the answer and the thoughts.
    """
    if sample.kind != "tool" or sample.turn is None:
        return None
    prompt = sample.prompt
    texts = {
        "question": prompt.question,
        "answer": prompt.key.answer,
        "earlier": " ".join(prompt.thoughts),
        "latest": sample.turn.think,
    }
    found = await means.asked().ask("reasoning", texts, [_first_image(prompt)], published.read_reasoning)
    sample.why["reasoning"] = found.why
    return found.value


def _first_image(prompt: Prompt) -> Shown:
    """The first image of the problem as it was shown."""
    image = prompt.images[0]
    return image.pixels(smart_resize(*image.size) if prompt.strict == "published" else prompt.view.sizes[0])


def _result(call: Call, prompt: Prompt) -> Shown:
    """The image that a call leads to; raises ValueError where it cannot be shown."""
    if call.index is None:
        raise ValueError("it is applied to no image")
    source = prompt.images[call.index]
    if prompt.strict == "published":
        return published.apply(call, source.pixels().pixels)
    shown = source.pixels(prompt.view.sizes[call.index])
    made = tools.get(call.name).apply(call, shown.pixels)
    if isinstance(made, str | Result):
        raise ValueError("it leads to no single image")
    return show(made, QWEN2)
