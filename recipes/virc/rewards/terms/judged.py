"""What a judge says of tool calls and of the thoughts before them."""

from virc.rewards import pictures, published
from virc.rewards.means import Means
from virc.rewards.question import asks
from virc.rewards.sample import Sample
from virc.rewards.terms import term


@term
@asks()
async def focus(sample: Sample, means: Means) -> float | None:
    """How well a tool call looks at what its thought says: a judge's score, 0 to 1.

    0 where the result of the call cannot be shown. Source: the published reward, which shows the judge the first image,
    the question, the answer, the thought and the image that the call leads to.
    """
    if sample.kind != "tool" or sample.turn is None or sample.call is None:
        return None
    judge, prompt = means.asked(), sample.prompt
    texts = {"question": prompt.question, "answer": prompt.key.reference, "latest": sample.turn.think}
    try:
        result = pictures.result(sample.call, prompt)
    except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
        sample.why["focus"] = str(error)
        return 0.0
    found = await judge.ask("focus", texts, [pictures.as_shown(prompt, 0), result], published.read_focus)
    sample.why["focus"] = found.why
    return found.value


@term
@asks()
async def reasoning(sample: Sample, means: Means) -> float | None:
    """How good the thought of a tool call is after the thoughts before it: a judge's score, 0 to 1.

    Source: the published reward, which shows the judge the first image, the question, the answer and the thoughts.
    """
    if sample.kind != "tool" or sample.turn is None:
        return None
    prompt = sample.prompt
    texts = {
        "question": prompt.question,
        "answer": prompt.key.reference,
        "earlier": " ".join(prompt.thoughts),
        "latest": sample.turn.think,
    }
    found = await means.asked().ask("reasoning", texts, [pictures.as_shown(prompt, 0)], published.read_reasoning)
    sample.why["reasoning"] = found.why
    return found.value
