"""Terms of an estimate, each the product of its factors, and those of a forward and backward pass.

Coefficients are bytes a token (or a patch of the vision tower) and width, one for each tensor that autograd keeps for
the backward pass of transformers' code: `h` bytes a number where a layer hands over to the next, `b` where matrices
are multiplied. Under autocast the two differ. Tests measure them.
"""

import math
from collections.abc import Iterator

import msgspec

from virc.models.sizes import Shape
from virc.stages import dpo, sft

_LIGER = {"qwen2_vl", "qwen2_5_vl"}  # LLaMA-Factory 0.9.5 applies liger's kernels to no other of ours
_PASSING = 18  # numbers a patch and width, while a frozen block is computed and nothing of it is kept
_AGAIN = 1.5  # what one layer keeps, and the gradients on their way through it
_PAIR_LOGITS = {True: 16, False: 14}
"""Bytes of a logit of a pair at the fullest moment. With a reference, while it passes: both models' logits in float32
and their log-softmax. Without, in the backward pass: the log-softmax, its gradient, that of the shifted logits in
float32, and in the model's precision. LLaMA-Factory turns liger's fused loss off for both."""

GIB = 2**30


class Term(msgspec.Struct, frozen=True):
    """A part of an estimate: what it is, its size, and how that is counted, in words."""

    name: str
    gib: float
    formula: str


def term(name: str, *factors: tuple[float, str], over: int = 1, by: str = "devices", note: str = "") -> Term:
    """The product of factors, each a number and its unit, the last in bytes; `over` devices, or nodes, share it."""
    text = " x ".join(f"{number_text(number)} {unit}" for number, unit in factors)
    text += (f" / {over} {by}" if over > 1 else "") + (f": {note}" if note else "")
    return Term(name, math.prod(number for number, _ in factors) / over / GIB, text)


def constant(name: str, gib: float, processes: int = 1) -> Term:
    """What is the same for every model."""
    return Term(name, processes * gib, f"{processes} x {gib:g} GiB, a constant")


def number_text(number: float) -> str:
    """A number as people read it."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{round(number, 2):,}".removesuffix(".0")


class Work(msgspec.Struct, frozen=True):
    """What one device does at a time.

    Args:
        trained, frozen: parameters.
        longest: tokens of a row; all rows of a micro-batch are as long.
        tokens: of a micro-batch.
        patches: of its images in the vision tower.
        devices: on all nodes.
        width: bytes of a number where matrices are multiplied.
        residual: bytes of a number between two layers.
        casts: whether matrices are cast for each multiplication, which autocast does for float32 weights.
    """

    config: sft.Config
    shape: Shape
    trained: int
    frozen: int
    longest: int
    tokens: int
    patches: int
    devices: int
    width: int
    residual: int
    casts: bool

    @classmethod
    def of(cls, config: sft.Config, shape: Shape, longest: int, image_tokens: int | None) -> "Work":
        """The work of one device, for rows of `longest` tokens; `image_tokens` None: one image of `max_pixels`."""
        parts = shape.parameters()
        trained = sum(shape.trained(config.lora, config.frozen_modules).values())
        frozen = sum(parts.values()) - (0 if config.lora else trained)
        one = config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged)
        images = min(longest, one if image_tokens is None else image_tokens)
        # LLaMA-Factory's collator puts both sides of each pair into one batch.
        rows = config.micro_batch_size_per_device * (config.sides if isinstance(config, dpo.Config) else 1)
        width = 2 if config.precision == "bf16" else 4
        casts = width == 2 and not config.zero and not config.lora
        return cls(
            config, shape, trained, frozen, longest, tokens=rows * longest,
            patches=rows * images * shape.vision.merged, devices=config.devices * config.nodes,
            width=width, residual=4 if casts else width, casts=casts,
        )  # fmt: skip

    @property
    def parameters(self) -> int:
        """Of the model, with an adapter's."""
        return self.trained + self.frozen

    @property
    def offloads(self) -> bool:
        """Whether the optimizer is kept in main memory instead of the device's."""
        return self.config.offload and self.config.zero > 0 and self.config.device == "cuda"

    @property
    def fused(self) -> bool:
        """Whether liger's kernels are used."""
        return self.config.use_liger and self.shape.family in _LIGER

    @property
    def frozen_bytes(self) -> int:
        """Of a frozen weight where nothing is spread; `llamafactory.start` makes them float32 on a CPU."""
        widened = self.config.device == "cpu" and self.config.precision == "float32"
        return 4 if widened else self.shape.weight_bytes

    @property
    def vision_passes(self) -> bool:
        """Whether gradients pass through the vision tower; `llamafactory.start` keeps them out of a frozen one."""
        return "vision" not in self.config.frozen_modules

    @property
    def language_learns(self) -> bool:
        """Whether the weights of the language model itself are trained."""
        return "language" not in self.config.frozen_modules and self.config.lora is None

    def flops(self, tokens: float, mean: float) -> float:
        """Floating-point operations of one pass over rows of `tokens` in all, `mean` a row.

        6 for each parameter and token: 2 forward, 4 backward; a frozen part that gradients pass through takes 4, one
        before all trained ones 2. Checkpointing computes forward twice.
        """
        parts, text = self.shape.parameters(), self.shape.text
        again = 2 if self.config.gradient_checkpointing else 0
        language = (parts["language"] - text.vocab_size * text.hidden_size * (not self.shape.tied)) * tokens
        attention = 2 * text.num_hidden_layers * text.queries * mean * tokens / 2
        vision = (8 if self.vision_passes else 2) * parts["vision"] * self.patches / self.tokens * tokens
        return ((6 if self.language_learns else 4) + again) * (language + attention) + vision


def kept(work: Work) -> Iterator[Term]:
    """What is held from the forward to the backward pass."""
    layers, again = work.shape.text.num_hidden_layers, work.config.gradient_checkpointing
    a_layer = work.residual * work.shape.text.hidden_size if again else _layer(work)
    note = f"{'the input' if again else 'all that is computed'} of each layer"
    yield term("activations", (layers, "layers"), (work.tokens, "tokens"), (a_layer, "bytes"), note=note)
    if work.casts and not again:
        note = "autocast keeps them for backward"
        yield term("bf16 copies", (work.trained, "parameters"), (work.width, "bytes"), note=note)
    if work.vision_passes:
        yield term("vision tower", (work.patches, "patches"), (_patch(work), "bytes"))
    if work.config.attention == "sdpa":
        each = 1 + (0 if again else layers * work.width)
        yield term("attention mask", (work.tokens, "tokens"), (work.longest, "tokens"), (each, "bytes"))


def moments(work: Work) -> Iterator[Term]:
    """What is held for a moment beside the logits; no two of them at the same time, nor with those."""
    config, vision = work.config, work.shape.vision
    if config.gradient_checkpointing:
        # Every layer with an adapter keeps a copy of its inputs for it.
        copies = work.width * work.shape.adapter_inputs(config.lora, config.frozen_modules) if config.lora else 0
        mask = work.width * work.longest if config.attention == "sdpa" else 0
        yield term("one layer recomputed", (work.tokens, "tokens"), (_AGAIN * _layer(work) + copies + mask, "bytes"))
    if not work.vision_passes:
        each = _PASSING * work.width * vision.width + 6 * vision.pixels
        yield term("vision tower", (work.patches, "patches"), (each, "bytes"), note="in one block")
    if work.casts and config.gradient_checkpointing:
        of_logits = 0 if work.fused else 10 * work.tokens * work.shape.text.vocab_size
        note = "of trained parameters, which autocast keeps to the end of forward, and logits"
        yield term("bf16 copies", (work.trained * work.width + of_logits, "bytes"), note=note)


def logits(work: Work) -> Term:
    """The last layer's numbers and what the loss makes of them, held for a moment."""
    text, tokens = work.shape.text, (work.tokens, "tokens")
    if isinstance(work.config, dpo.Config):
        each = _PAIR_LOGITS[work.config.referred]
        return term("logits", tokens, (text.vocab_size, "words"), (each, "bytes"))
    if not work.fused:
        return term("logits", tokens, (text.vocab_size, "words"), (12, "bytes"), note="three copies")
    chunks = 3 * work.width * text.hidden_size * work.tokens
    gradient = text.vocab_size * text.hidden_size * work.width if work.language_learns else 0
    note = f"three numbers a token and width{', and the gradient of the last layer' if gradient else ''}"
    return term("logits, a chunk at a time", (chunks + gradient, "bytes"), note=note)


def _layer(work: Work) -> int:
    text, h, b = work.shape.text, work.residual, work.width
    norm = h if work.fused else 4 + h
    inputs = (5 if work.casts else 2) * b  # of q, k, v; of gate, up
    heads = 2 * b * text.queries + 2 * b * (text.queries if work.config.attention == "sdpa" else text.keys)
    if work.shape.family == "qwen3_vl":
        heads += (4 + b) * (text.queries + text.keys)
    inner = (3 if work.fused else 4) * b
    return (2 * norm + inputs) * text.hidden_size + heads + inner * text.intermediate_size


def _patch(work: Work) -> int:
    vision = work.shape.vision
    each = work.residual * vision.width
    if not work.config.gradient_checkpointing:
        wide = 2 * (4 + work.residual) + (4 if work.casts else 2) * work.width + 4 * work.width
        inner = (4 if work.shape.family == "qwen2_5_vl" else 3) * work.width
        each = wide * vision.width + inner * vision.inner
    return vision.depth * each + 6 * vision.pixels
