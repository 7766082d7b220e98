"""Memory of one turn with an image in the in-process backend, beside its estimate.

On a GPU the allocator says what is held; on the CPU each tensor is counted.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from PIL import Image
from support import sized, training_memory
from training.held import Held

from virc.backends.interface import Sampling
from virc.models import memory
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message


class Peak(NamedTuple):
    """Bytes of weights, and of all else at its most: as estimated, and as measured."""

    weights: tuple[float, float]
    beside: tuple[float, float]


def peak(name: str, device: str, dtype: str, side: int, words: int, scaled: bool = False) -> Peak:
    """The memory of a turn with an image of `side` x `side` pixels and a question of so many words."""
    backend = sized.backend(name, device, dtype, scaled)
    network = backend.cached.network
    picture = show(Image.effect_noise((side, side), 50).convert("RGB"), backend.grid)
    ask = Ask([Message("user", "word " * words, (0,))], [picture])
    on_gpu = device == "cuda"
    with nullcontext() if on_gpu else Held(network) as held:
        meter: Any = training_memory.OfGpu() if on_gpu else held
        before = meter.now
        meter.from_here()
        reply = backend.reply(ask, Sampling(max_tokens=4))
        most = meter.most - before
    tokens, image_tokens = reply.prompt_tokens + 4, backend.cached.image_tokens(picture)
    width = torch.finfo(getattr(torch, dtype)).bits // 8
    found = memory.parts(training_memory.shape_of(sized.fields(name, scaled)), width, tokens, image_tokens)
    size: Callable[[str], float] = {part.name: part.size for part in found}.__getitem__
    weights = sum(each.numel() * each.element_size() for each in network.parameters())
    beside = sum(part.size for part in found if part.name not in {"weights", "process"})
    backend.close()
    return Peak((size("weights"), weights), (beside, most))


def language(name: str, tokens: int) -> tuple[float, float]:
    """Bytes that reading so many tokens takes in bfloat16 beside weights, as estimated and as counted."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import DynamicCache

    fields = sized.fields(name)
    small = {"depth": 1, "fullatt_block_indexes": [0], "deepstack_visual_indexes": [0]}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        network = sized.network(fields | {"vision_config": fields["vision_config"] | small}, "cpu", torch.bfloat16)
        cache: Any = DynamicCache()
        with Held(network) as held:
            before = held.now
            ids, positions = torch.ones(1, tokens, dtype=torch.long), torch.zeros(3, 1, tokens, dtype=torch.long)
            network(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
            most = held.most - before
    found = memory.parts(training_memory.shape_of(fields), 2, tokens, 0)
    return sum(part.size for part in found if part.name in {"keys and values", "one layer"}), most


def tower(name: str, dtype: str, side: int) -> tuple[float, float]:
    """Bytes that a picture of `side` x `side` patches takes in a vision tower of two blocks."""
    fields = sized.fields(name)
    vision = fields["vision_config"] | {"depth": 2, "fullatt_block_indexes": [1], "deepstack_visual_indexes": [0]}
    text = fields["text_config"] | {"num_hidden_layers": 1, "vocab_size": 99, "intermediate_size": 64}
    fields |= {"vision_config": vision, "text_config": text}
    visual = sized.network(fields, "cpu", getattr(torch, dtype)).model.visual
    shape = training_memory.shape_of(fields)
    with torch.inference_mode(), Held(visual) as held:
        pixels = torch.ones(side**2, shape.vision.pixels)
        before = held.now
        visual(pixels, grid_thw=torch.tensor([[1, side, side]]))
        most = held.most - before
    width = torch.finfo(getattr(torch, dtype)).bits // 8
    found = memory.parts(shape, width, 1, side**2 // 4)
    return next(part.size for part in found if part.name == "vision tower"), most
