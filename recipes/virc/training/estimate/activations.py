"""Bytes that a forward and backward pass holds beside weights, gradients and the optimizer.

Coefficients are bytes a token (or a patch of the vision tower) and width, one for each tensor that autograd keeps for
the backward pass of transformers' code: `h` bytes a number where a layer hands over to the next, `b` where matrices
are multiplied. Under autocast the two differ.
"""

from collections.abc import Iterator

import msgspec

from virc.models.sizes import Shape
from virc.stages.sft import Config

_LIGER = {"qwen2_vl", "qwen2_5_vl"}  # LLaMA-Factory 0.9.5 applies liger's kernels to no other of ours
_PASSING = 18  # numbers a patch and width, while a frozen block is computed and nothing of it is kept
_AGAIN = 1.5  # what one layer keeps, and the gradients on their way through it

GIB = 2**30


class Term(msgspec.Struct, frozen=True):
    """A part of an estimate: what it is, its size, and how that is counted, in words."""

    name: str
    gib: float
    formula: str


def term_of(name: str, size: float, formula: str) -> Term:
    """A term of so many bytes."""
    return Term(name, size / GIB, formula)


class Work(msgspec.Struct, frozen=True):
    """What one device does at a time.

    Args:
        trained, frozen: parameters.
        tokens: of a micro-batch; each row is as long as the longest.
        patches: of its images in the vision tower.
        devices: on all nodes.
        width: bytes of a number where matrices are multiplied.
        residual: bytes of a number between two layers.
        casts: whether matrices are cast for each multiplication, which autocast does for float32 weights.
    """

    config: Config
    shape: Shape
    trained: int
    frozen: int
    tokens: int
    patches: int
    devices: int
    width: int
    residual: int
    casts: bool

    @classmethod
    def of(cls, config: Config, shape: Shape, longest: int, image_tokens: int | None) -> "Work":
        """The work of one device, for rows of `longest` tokens; `image_tokens` None: one image of `max_pixels`."""
        parts = shape.parameters()
        if config.lora:
            trained, frozen = shape.adapter(config.lora, config.frozen_modules), sum(parts.values())
        else:
            trained = sum(count for part, count in parts.items() if part not in config.frozen_modules)
            frozen = sum(parts.values()) - trained
        vision = shape.vision
        one = config.max_pixels // (vision.patch_size**2 * vision.merged)
        images = min(longest, one if image_tokens is None else image_tokens)
        width = 2 if config.precision == "bf16" else 4
        casts = width == 2 and not config.zero and not config.lora
        return cls(
            config, shape, trained, frozen,
            tokens=config.micro_batch_size_per_device * longest,
            patches=config.micro_batch_size_per_device * images * vision.merged,
            devices=config.devices * config.nodes,
            width=width, residual=4 if casts else width, casts=casts,
        )  # fmt: skip

    @property
    def offloads(self) -> bool:
        """Whether the optimizer is kept in main memory instead of the device's."""
        return self.config.offload and self.config.zero > 0 and self.config.device == "cuda"

    @property
    def fused(self) -> bool:
        """Whether liger's kernels are used."""
        return self.config.use_liger and self.shape.family in _LIGER

    @property
    def longest(self) -> int:
        """Tokens of one row."""
        return self.tokens // self.config.micro_batch_size_per_device

    @property
    def frozen_bytes(self) -> int:
        """Of a frozen weight where nothing is spread; `llamafactory.start` makes them float32 on a CPU."""
        widened = self.config.device == "cpu" and self.config.precision == "float32"
        return 4 if widened else self.shape.weight_bytes

    def saved(self) -> tuple[float, str]:
        """Bytes of the weights of one checkpoint, and how they are counted."""
        if self.config.lora:
            return self.trained * 4, "the adapter x 4 bytes"
        if self.config.zero:
            return (self.trained + self.frozen) * self.width, f"all parameters x {self.width} bytes"
        each = self.frozen_bytes
        return self.trained * 4 + self.frozen * each, f"trained x 4 bytes, frozen x {each}"

    def resumed(self) -> tuple[float, str]:
        """Bytes of the state of one checkpoint that only resuming needs."""
        if self.config.zero == 0:
            return self.trained * 8, "Adam moments, 8 bytes a trained parameter"
        weights = self.frozen + (self.trained if self.config.zero == 2 else 0)
        what = "float32 weights and Adam moments, 12 bytes a trained parameter, and DeepSpeed's own weights"
        return self.trained * 12 + weights * self.width, what

    def flops(self, tokens: float, mean: float) -> float:
        """Floating-point operations of one pass over the rows.

        6 for each parameter and token: 2 forward, 4 backward; a frozen part that gradients pass through takes 4, one
        before all trained ones 2. Checkpointing computes forward twice.

        Args:
            tokens: of all rows.
            mean: of a row.
        """
        parts, text = self.shape.parameters(), self.shape.text
        again = 2 if self.config.gradient_checkpointing else 0
        learns = "language" not in self.config.frozen_modules and self.config.lora is None
        language = (parts["language"] - text.vocab_size * text.hidden_size * (not self.shape.tied)) * tokens
        attention = 2 * text.num_hidden_layers * text.queries * mean * tokens / 2
        images = self.patches / self.tokens * tokens
        tower = 4 if self.vision_passes else 0
        tower += 2 if "vision" not in self.config.frozen_modules else 0
        vision = (2 + tower) * parts["vision"] * images
        return ((6 if learns else 4) + again) * (language + attention) + vision

    @property
    def vision_passes(self) -> bool:
        """Whether gradients pass through the vision tower; `llamafactory.start` keeps them out of a frozen one."""
        return "vision" not in self.config.frozen_modules


def kept(work: Work) -> Iterator[Term]:
    """What is held from the forward to the backward pass."""
    text, config = work.shape.text, work.config
    layer, what = _layer(work)
    layers = text.num_hidden_layers
    if config.gradient_checkpointing:
        size = work.residual * text.hidden_size * layers * work.tokens
        formula = f"input of {layers} layers: {work.tokens:,} tokens x {text.hidden_size} x {work.residual} bytes"
        yield term_of("activations", size, formula)
    else:
        formula = f"{layers} layers x {work.tokens:,} tokens x {layer:,} bytes ({what})"
        yield term_of("activations", layers * work.tokens * layer, formula)
        if work.casts:
            size = work.trained * work.width
            yield term_of("bf16 copies", size, "trained parameters x 2 bytes: autocast keeps them for backward")
    if work.vision_passes:
        yield _vision_kept(work)
    if config.attention == "sdpa":
        per_layer = 0 if config.gradient_checkpointing else layers * work.width
        size = work.tokens * work.longest * (1 + per_layer)
        again = f", and {work.width} in each of {layers} layers" if per_layer else ""
        yield term_of("attention mask", size, f"{work.tokens:,} x {work.longest:,} tokens x 1 byte{again}")


def moments(work: Work) -> Iterator[Term]:
    """What is held for a moment beside the logits; no two of them at the same time, nor with those."""
    if work.config.gradient_checkpointing:
        layer, what = _layer(work)
        mask = work.width * work.tokens * work.longest if work.config.attention == "sdpa" else 0
        lora, frozen = work.config.lora, work.config.frozen_modules
        # Every layer with an adapter keeps a copy of its inputs for it.
        copies = work.width * work.shape.adapter_inputs(lora, frozen) if lora else 0
        formula = (
            f"{work.tokens:,} tokens x ({_AGAIN} x {layer:,} bytes ({what})"
            f"{f' + {copies:,} of the adapter' if copies else ''}){', and its mask' if mask else ''}"
        )
        yield term_of("one layer recomputed", (_AGAIN * layer + copies) * work.tokens + mask, formula)
    vision = work.shape.vision
    if not work.vision_passes:
        each = _PASSING * work.width * vision.width + 6 * vision.pixels
        yield term_of("vision tower", each * work.patches, f"{work.patches:,} patches x {each:,} bytes in one block")
    if work.casts and work.config.gradient_checkpointing:
        logits = 0 if work.fused else 10 * work.tokens * work.shape.text.vocab_size
        what = "trained parameters x 2 bytes, which autocast keeps to the end of forward, and logits"
        yield term_of("bf16 copies", work.trained * work.width + logits, what)


def _layer(work: Work) -> tuple[int, str]:
    """Bytes a token that one layer of the language model keeps."""
    text, h, b = work.shape.text, work.residual, work.width
    norm = h if work.fused else 4 + h
    inputs = (5 if work.casts else 2) * b  # of q, k, v; of gate, up
    wide = 2 * norm + inputs
    masked = work.config.attention == "sdpa"
    heads = 2 * b * text.queries + 2 * b * (text.queries if masked else text.keys)
    if work.shape.family == "qwen3_vl":
        heads += (4 + b) * (text.queries + text.keys)
    inner = (3 if work.fused else 4) * b
    size = wide * text.hidden_size + heads + inner * text.intermediate_size
    formula = f"{wide} x {text.hidden_size} + attention {heads:,} + {inner} x {text.intermediate_size}"
    return size, formula


def _vision_kept(work: Work) -> Term:
    vision, depth = work.shape.vision, work.shape.vision.depth
    if work.config.gradient_checkpointing:
        each, why = work.residual * vision.width, "their inputs"
    else:
        wide = 2 * (4 + work.residual) + (4 if work.casts else 2) * work.width + 4 * work.width
        inner = (4 if work.shape.family == "qwen2_5_vl" else 3) * work.width
        each, why = wide * vision.width + inner * vision.inner, "all they compute"
    patch = depth * each + 6 * vision.pixels
    formula = f"{work.patches:,} patches x ({depth} blocks x {each:,} bytes ({why}), and {6 * vision.pixels:,})"
    return term_of("vision tower", work.patches * patch, formula)


def logits(work: Work) -> Term:
    """The last layer's numbers and what the loss makes of them, held for a moment."""
    text = work.shape.text
    if work.fused:
        head = text.vocab_size * text.hidden_size * work.width
        learns = "language" not in work.config.frozen_modules and work.config.lora is None
        size = 3 * work.width * text.hidden_size * work.tokens + (head if learns else 0)
        formula = f"{work.tokens:,} tokens x {text.hidden_size} x 3 x {work.width} bytes"
        formula += ", and the gradient of the last layer" if learns else ""
        return term_of("logits, a chunk at a time", size, formula)
    formula = f"{work.tokens:,} tokens x {text.vocab_size:,} words x 4 bytes x 3 copies"
    return term_of("logits", 12 * work.tokens * text.vocab_size, formula)
