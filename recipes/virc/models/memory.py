"""Memory that a conversation takes of a device, with a model in this process: each part with how it is counted.

Coefficients are numbers a token, or a patch of the vision tower, and width: what the code of transformers holds at its
largest moment without gradients. tests/gpu/test_inference_memory.py counts them.
"""

from pathlib import Path

import msgspec

from virc.backends.checkpoint import image_grid, image_settings
from virc.models import registry as models
from virc.models import sizes
from virc.models.sizes import Shape

_BETWEEN, _INNER = 3, 3
"""Of a layer: its input and two copies of the embeddings; of its MLP: the gate, what goes up, and their product."""
_FLOAT32, _OWN = 6, 5
"""Of a block of the vision tower, while queries and keys are turned: in float32, and in the type of the weights."""
TOKENS, IMAGE_TOKENS = 32_768, 16_384
"""Of a long conversation, and of a picture of 12.8 megapixels, the largest that Qwen2.5-VL is shown."""
_SMALL = 500_000_000  # parameters, from which on weights are bfloat16, as in `backends.local`
PROCESS = {"cuda": 1.0, "cpu": 0.5}
"""GiB of a process besides its tensors: libraries, and CUDA's context."""
GIB = 2**30


class Part(msgspec.Struct, frozen=True):
    """A part of the memory: what it is, its size in bytes, and how that is counted, in words."""

    name: str
    size: float
    formula: str


class Memory(msgspec.Struct, frozen=True):
    """What a model takes; `width` is the bytes of a number."""

    model: str
    width: int
    tokens: int
    image_tokens: int
    parts: tuple[Part, ...]
    gib: float


def of_model(name: str, device: str | None, workspace: Path = Path()) -> Memory:
    """The memory of a long conversation with a model, of which nothing but its sizes need be here."""
    device = "cuda" if device and device.startswith("cuda") else "cpu"
    published = sizes.published(name)
    if published:
        return _memory(name, published, IMAGE_TOKENS, device)
    folder = models.find(name, workspace).folder
    grid = image_grid(image_settings(folder))
    return _memory(name, sizes.of_folder(folder), grid.max_pixels // grid.factor**2, device)


def _memory(name: str, shape: Shape, image_tokens: int, device: str) -> Memory:
    width = 4 if sum(shape.parameters().values()) < _SMALL else 2
    image_tokens = min(image_tokens, IMAGE_TOKENS)
    found = parts(shape, width, TOKENS, image_tokens, device)
    return Memory(name, width, TOKENS, image_tokens, found, sum(part.size for part in found) / GIB)


def parts(shape: Shape, width: int, tokens: int, image_tokens: int, device: str = "cuda") -> tuple[Part, ...]:
    """The memory that a conversation takes at most, part by part; `image_tokens` are of images read at a time."""
    text = shape.text
    count = sum(shape.parameters().values())
    token = 2 * text.num_hidden_layers * text.keys * width
    patches = image_tokens * shape.vision.merged
    pixels = 4 * shape.vision.pixels
    moment = max(_vision(shape, width, patches), _language(shape, width, tokens), key=lambda each: each.size)
    return (
        Part("weights", count * width, f"{count:,} parameters x {width} bytes"),
        Part("keys and values", token * tokens, f"{tokens:,} tokens x {token:,} bytes"),
        Part("pixels", pixels * patches, f"{patches:,} patches x {pixels:,} bytes"),
        moment,
        Part("process", PROCESS[device] * GIB, f"a constant: {PROCESS[device]} GiB"),
    )


def _vision(shape: Shape, width: int, patches: int) -> Part:
    """One block of the vision tower, which reads all patches at a time, and what Qwen3-VL keeps of earlier blocks."""
    vision, own = shape.vision, shape.family == "qwen3_vl"
    each = (4 * (_FLOAT32 + own) + _OWN * width) * vision.width
    if own:
        each += len(vision.deepstack_visual_indexes) * width * vision.out // vision.merged
    return Part("vision tower", each * patches, f"{patches:,} patches x {each:,} bytes in one block")


def _language(shape: Shape, width: int, tokens: int) -> Part:
    text = shape.text
    mlp = width * (text.hidden_size + _INNER * text.intermediate_size)
    normed = (4 + 3 * width) * text.queries if shape.family == "qwen3_vl" else 0  # queries, whose norm is in float32
    each = width * (_BETWEEN * text.hidden_size + 2 * text.head) + max(mlp, normed)
    return Part("one layer", each * tokens, f"{tokens:,} tokens x {each:,} bytes in one layer")
