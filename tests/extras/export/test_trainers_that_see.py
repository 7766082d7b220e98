"""Trainers that do not see what a rollout saw are caught, with the embedded model on a CPU."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, crop, tool

from virc.backends.chatml import Rendered, render
from virc.backends.local import LocalBackend, load
from virc.core.errors import ConfigError
from virc.engines.verl.trainer_pixels import TOLERANCE, Images, check_trainer
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import show
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Message, Reply, Session
from virc.tools.registry import known

SIZE = (252, 196)
HALF = 0.2
"""Nats a token that half precision may make."""


class Seen(msgspec.Struct):
    """A rollout as the model read it: the ids, the places of the replies in them, and the pictures."""

    messages: Sequence[Message]
    images: list[Image.Image]
    rendered: Rendered


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return load(EMBEDDED_FOLDER, device="cpu")


def rollout(backend: LocalBackend, seed: int) -> Seen:
    """A rollout of the embedded model on a picture of noise, with a crop that is enlarged to the picture's size."""
    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1] // 14, SIZE[0] // 14, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels, "RGB").resize(SIZE, Image.Resampling.NEAREST)
    protocol = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
    session = Session(protocol, f"What is number {seed}?", [picture], backend.grid, tools=known())
    session.feed(Reply(tool(crop(0, 0, 140, 112))))
    session.feed(Reply(answer(str(seed))))
    images = [shown.pixels.resize(SIZE) for shown in session.images]
    return Seen(session.trace().messages, images, read(backend, session.trace().messages, images))


def read(backend: LocalBackend, messages: Sequence[Message], images: Images) -> Rendered:
    counts = [backend.cached.image_tokens(show(image, backend.grid)) for image in images]
    return render(messages, counts, backend._tokenizer)


def logprobs(backend: LocalBackend, rendered: Rendered, images: Images, blind: bool = False) -> list[float]:
    """Log-probabilities of the ids of the replies; `blind`: of a model that gets the marks of pictures alone."""
    import torch

    ids = torch.tensor([rendered.ids])
    kinds = (ids == backend.cached.network.config.image_token_id).int()
    given = {} if blind else backend.cached.processor(images=list(images), do_resize=False, return_tensors="pt")
    with torch.inference_mode():
        read = {} if blind else {"mm_token_type_ids": kinds}
        logits = backend.cached.network(input_ids=ids, **read, **given).logits[0]
    chances = logits.log_softmax(-1)
    places = [at for span in rendered.spans if span.role == "assistant" for at in range(span.start, span.stop)]
    return [float(chances[at - 1, rendered.ids[at]]) for at in places]


Trainer = Callable[[LocalBackend, Seen, Images], list[float]]


def honest(backend: LocalBackend, seen: Seen, images: Images) -> list[float]:
    return logprobs(backend, seen.rendered, images)


def without_pixels(backend: LocalBackend, seen: Seen, images: Images) -> list[float]:
    """As prime-rl before 2786, agent-lightning before 560 and verl in 2643: marks reach the model, pixels do not."""
    return logprobs(backend, seen.rendered, images, blind=True)


def without_crops(backend: LocalBackend, seen: Seen, images: Images) -> list[float]:
    """As TRL in issue 5663: what tools make is dropped, and the first picture stands for them."""
    return logprobs(backend, seen.rendered, [images[0]] * len(images))


def with_blank_crops(backend: LocalBackend, seen: Seen, images: Images) -> list[float]:
    """As slime in issue 1847, where pictures of later turns are blank to who draws the replies."""
    blank = [Image.new("RGB", image.size, "white") for image in images[1:]]
    return logprobs(backend, seen.rendered, [images[0], *blank])


def twice_resized(backend: LocalBackend, seen: Seen, images: Images) -> list[float]:
    """The trainer resizes pictures on their way, and back to their size."""
    return honest(backend, seen, [image.resize((168, 140)).resize(image.size) for image in images])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        (without_pixels, "does not see picture 1 of 2"),
        (without_crops, "does not see picture 2 of 2"),
        (twice_resized, "does not see what the rollout saw"),
    ],
)
def test_a_trainer_that_sees_other_pictures_is_caught(trainer: Trainer, says: str, backend: LocalBackend) -> None:
    seen = rollout(backend, 0)
    reference = honest(backend, seen, seen.images)
    with pytest.raises(ConfigError, match=says):
        check_trainer(partial(trainer, backend, seen), seen.images, reference)


@pytest.fixture(scope="module")
def sampler() -> LocalBackend:
    """The same model in half precision, as engines draw."""
    half = load(EMBEDDED_FOLDER, device="cpu")
    half.cached.network.bfloat16()
    return half


@pytest.mark.integration
@pytest.mark.parametrize(
    ("drawn", "half"),
    [(without_pixels, True), (without_pixels, False), (with_blank_crops, False), (without_crops, False)],
)
def test_a_sampler_that_saw_less_than_the_trainer_is_caught(
    drawn: Trainer, half: bool, backend: LocalBackend, sampler: LocalBackend
) -> None:
    """As verl in issue 2643 and slime in 1847: the trainer sees what the rollout did not."""
    seen = rollout(backend, 0)
    reference = drawn(sampler if half else backend, seen, seen.images)
    with pytest.raises(ConfigError, match="does not see what the rollout saw"):
        check_trainer(partial(honest, backend, seen), seen.images, reference, HALF if half else TOLERANCE)


@pytest.mark.integration
def test_an_honest_trainer_is_never_stopped(backend: LocalBackend, sampler: LocalBackend) -> None:
    for seed in range(6):
        seen = rollout(backend, seed)
        for drawn_by, tolerance in ((backend, TOLERANCE), (sampler, HALF)):
            reference = honest(drawn_by, seen, seen.images)
            check_trainer(partial(honest, backend, seen), seen.images, reference, tolerance)
