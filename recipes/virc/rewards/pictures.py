"""Images that a judge is shown, as the model saw them."""

from virc.reasoning.calls import Call, Result
from virc.reasoning.images import Shown, show
from virc.reasoning.resize import QWEN2, smart_resize
from virc.rewards import published
from virc.rewards.sample import Prompt
from virc.tools import registry as tools


def as_shown(prompt: Prompt, number: int) -> Shown:
    image = prompt.images[number]
    return image.pixels(smart_resize(*image.size) if prompt.strict == "published" else prompt.view.sizes[number])


def result(call: Call, prompt: Prompt) -> Shown:
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
