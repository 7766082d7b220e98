"""Memory of a training step in plain torch, beside what the estimate of a stage says of the same step.

On a GPU the allocator says what is held. On the CPU each tensor is counted: without an image on fake tensors, which
have no content, so that a model of any size can be counted; with an image on real ones.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from support import sized
from torch import nn
from training.held import Held

from virc.engines.llamafactory.start import keep_gradients_out
from virc.models import sizes
from virc.models.sizes import Shape
from virc.stages.sft import Config, Lora
from virc.training.estimate.needs import GIB, Term, Work, activations_kept, estimate, moments

WITH_IMAGE = "the vision tower"
"""In the name of a case whose vision tower learns: it needs an image."""
CASES: Mapping[str, dict[str, Any]] = {
    "full, checkpointing": {},
    "full": {"gradient_checkpointing": False},
    "full with the vision tower, checkpointing": {"frozen_modules": ()},
    "full with the vision tower": {"frozen_modules": (), "gradient_checkpointing": False},
    "LoRA, checkpointing": {"lora": Lora()},
    "LoRA": {"lora": Lora(), "gradient_checkpointing": False},
}
STATE = ("frozen weights", "trained weights", "gradients", "Adam moments")
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Row(NamedTuple):
    """A part of a step: bytes as estimated, and as measured."""

    part: str
    estimated: float
    measured: float

    @property
    def ratio(self) -> float:
        """Estimated / measured."""
        return self.estimated / self.measured if self.measured else float("nan")


class Step(NamedTuple):
    """What is trained on: a model, a row of `tokens` ids, of which an image has `side` x `side` patches; 0: none."""

    fields: dict[str, Any]
    config: Config
    tokens: int
    side: int
    device: str

    @property
    def image_tokens(self) -> int:
        """Ids that the image takes."""
        return self.side * self.side // 4


class Meter(Protocol):
    """Bytes held now, and at most since `from_here`."""

    @property
    def now(self) -> int: ...
    @property
    def most(self) -> int: ...
    def from_here(self) -> None:
        """Forget what was the most."""


class OfGpu:
    """What CUDA's allocator counts."""

    @property
    def now(self) -> int:
        """Bytes of tensors."""
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    @property
    def most(self) -> int:
        """Bytes of tensors, at most."""
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def from_here(self) -> None:
        """Forget what was the most."""
        torch.cuda.reset_peak_memory_stats()


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank update in float32, as peft adds one."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        device = base.weight.device
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False, device=device)
        self.up = nn.Linear(rank, base.out_features, bias=False, device=device)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The layer's output and the update."""
        update: torch.Tensor = self.up(self.down(inputs.to(self.down.weight.dtype)))
        return self.base(inputs) + update * 2  # type: ignore[no-any-return]


def settings(**changes: Any) -> Config:
    """One device, without DeepSpeed and liger."""
    plain = {"data": "x", "learning_rate": 1e-5, "use_liger": False, "zero": 0, "devices": 1, "max_pixels": 784}
    return msgspec.convert(plain | changes, Config)


def shape_of(fields: Mapping[str, Any]) -> Shape:
    """The shape of a model by its config.json."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(fields))
        return sizes.of_folder(Path(folder))


def measured(step: Step) -> list[Row]:
    """The parts of a step, estimated and measured; the last is the peak without what belongs to the process."""
    with ExitStack() as stack:
        if step.device == "cpu" and step.side == 0:
            from torch._subclasses.fake_tensor import FakeTensorMode

            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        model = _model(step)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, fused=True)
        meter: Meter = OfGpu() if step.device == "cuda" else stack.enter_context(Held(model))
        batch = _batch(step)
        before = meter.now - _bytes(model.parameters())
        _loss(step, model, batch).backward()
        optimizer.step()
        states = [each for state in optimizer.state.values() for each in state.values() if each.dim()]
        found = {
            "frozen weights": _bytes(weight for weight in model.parameters() if not weight.requires_grad),
            "trained weights": _bytes(trained),
            "gradients": _bytes(weight.grad for weight in trained),
            "Adam moments": _bytes(states),
        }
        between = meter.now
        with _cast(step):
            hidden = model.model(**{name: each for name, each in batch.items() if name != "labels"})
        held = meter.now - between
        del hidden
        meter.from_here()
        _loss(step, model, batch).backward()
        optimizer.step()
        return [*_rows(step, found, held, meter.most - between), _peak(step, meter.most - before)]


def _rows(step: Step, state: Mapping[str, int], held: int, added: int) -> Iterator[Row]:
    terms = {term.name: term.gib * GIB for term in _estimate(step)}
    for name in STATE:
        yield Row(name, terms.get(name, 0.0), state[name])
    work = _work(step)
    remain = sum(term.gib for term in activations_kept(work)) * GIB
    if work.casts and not step.config.gradient_checkpointing:
        remain -= work.width * work.shape.text.vocab_size * work.shape.text.hidden_size  # of the last layer
    yield Row("kept for the backward pass, without the last layer", remain, held)
    largest = max(term.gib for term in moments(work)) * GIB
    yield Row("all that a pass adds", sum(term.gib for term in activations_kept(work)) * GIB + largest, added)


def _peak(step: Step, most: int) -> Row:
    return Row("peak", sum(term.gib for term in _estimate(step) if term.name != "framework") * GIB, most)


def _estimate(step: Step) -> tuple[Term, ...]:
    shape = shape_of(step.fields)
    return estimate(_with_image(step, shape), shape, step.tokens).terms


def _with_image(step: Step, shape: Shape) -> Config:
    """The settings whose `max_pixels` are those of the step's image."""
    pixels = max(1, step.image_tokens) * shape.vision.merged * shape.vision.patch_size**2
    return msgspec.structs.replace(step.config, max_pixels=pixels)


def estimated_gib(step: Step) -> float:
    """GiB that the step takes of a device, all in all."""
    return sum(term.gib for term in _estimate(step))


def _work(step: Step) -> Work:
    shape = shape_of(step.fields)
    return Work(_with_image(step, shape), shape, step.tokens)


def _model(step: Step) -> Any:
    """The network as LLaMA-Factory has it: trained weights in float32, frozen ones in bfloat16."""
    ids = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 7, "vision_end_token_id": 8}
    model = sized.network(step.fields, step.device, torch.bfloat16, **ids).train()
    model.config.text_config.use_cache = False
    config = step.config
    if "vision" in config.frozen_modules:
        model.model.visual.requires_grad_(False)
    if config.lora:
        model.requires_grad_(False)
        for layer in model.model.language_model.layers:
            for part in (layer.self_attn, layer.mlp):
                for name in _ADAPTED:
                    if hasattr(part, name):
                        setattr(part, name, Adapted(getattr(part, name), config.lora.rank))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": True})
        if config.lora:
            model.enable_input_require_grads()
            keep_gradients_out(model)
    return model


def _batch(step: Step) -> dict[str, torch.Tensor]:
    """A padded row, with one image in front or none."""
    device, tokens = step.device, step.tokens
    ids = torch.ones(1, tokens, dtype=torch.long, device=device)
    batch = {
        "position_ids": torch.zeros(3, 1, tokens, dtype=torch.long, device=device),
        "attention_mask": torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=device),
    }
    if step.side:
        ids[:, : step.image_tokens] = 5
        pixels = shape_of(step.fields).vision.pixels
        batch["pixel_values"] = torch.ones(step.side**2, pixels, device=device)
        batch["image_grid_thw"] = torch.tensor([[1, step.side, step.side]], device=device)
    return batch | {"input_ids": ids, "labels": ids}


def _cast(step: Step) -> Any:
    return torch.autocast(step.device, dtype=torch.bfloat16) if step.config.precision == "bf16" else nullcontext()


def _loss(step: Step, model: Any, batch: Mapping[str, torch.Tensor]) -> Any:
    """The loss alone: the logits are given back as soon as it is made."""
    with _cast(step):
        return model(**batch).loss


def _bytes(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tensors if each is not None)
