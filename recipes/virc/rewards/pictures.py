"""Images that a judge is shown, as the model sees them."""

from virc.reasoning.calls import Call
from virc.reasoning.images import Shown
from virc.reasoning.resize import smart_resize
from virc.rewards import published
from virc.rewards.sample import Prompt


def as_shown(prompt: Prompt, number: int) -> Shown:
    image = prompt.images[number]
    return image.pixels(smart_resize(*image.size) if prompt.strict == "published" else prompt.view.sizes[number])


def result(call: Call, prompt: Prompt) -> Shown:
    if call.index is None:
        raise ValueError("it is applied to no image")
    if prompt.strict == "published":
        return published.apply(call, prompt.images[call.index].pixels().pixels)
    _, made = prompt.history_for(call.index).run(call)
    if len(made) != 1:
        raise ValueError("it leads to no single image")
    return made[0][0]
