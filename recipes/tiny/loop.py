"""The training loop: a mix of tasks that shifts from perception to whole trajectories.

PYTHONPATH=recipes python -m tiny.loop OUT --minutes 60 | --steps 3000 [--from FOLDER] [--seed 0]
        [--phase sight|read|place|skills|compare|sft|direct]
PYTHONPATH=recipes torchrun --standalone --nproc-per-node 2 -m tiny.loop OUT ...
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tiny import curriculum, places, sight
from tiny.architecture import build_model, build_tokenizer, save
from tiny.corpus import constants, words
from tiny.curriculum import Example
from tiny.encode import IGNORE, collate
from virc.data.synth import worked

Task = Callable[[random.Random], Example]
TASKS: Mapping[str, tuple[Task, int]] = {  # task and examples per step; steps take about the same time
    "glyphs": (curriculum.read_glyphs, 128),
    "read": (curriculum.read_crop, 96),
    "labels": (curriculum.list_labels, 32),
    "list": (curriculum.list_corners, 24),
    "sums": (curriculum.sums, 32),
    "compare": (curriculum.compare, 128),
    "stops": (curriculum.stops, 24),
    "triangle": (partial(curriculum.trajectory, sides=(3,)), 16),
    "quadrilateral": (partial(curriculum.trajectory, sides=(4,)), 12),
    "refusal": (curriculum.refusal, 16),
    "missing": (curriculum.missing_corner, 12),
    "direct": (curriculum.direct, 14),
}
# Share of steps of each task: from the first row at the start of a phase to the second at its end.
PHASES: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    "read": ({"glyphs": 0.4, "read": 0.5, "sums": 0.1}, {"glyphs": 0.1, "read": 0.6, "list": 0.2, "sums": 0.1}),
    "place": ({"read": 0.1, "labels": 0.85, "sums": 0.05}, {"read": 0.1, "labels": 0.2, "list": 0.6, "sums": 0.1}),
    "skills": ({"read": 0.2, "labels": 0.05, "list": 0.4, "sums": 0.35}, {"read": 0.15, "list": 0.4, "sums": 0.45}),
    "compare": (  # as text, then with pictures, too; it continues from the weights of `instruct`
        {"compare": 0.6, "stops": 0.4},
        {"stops": 0.2, "triangle": 0.4, "quadrilateral": 0.4},
    ),
    "sft": (
        {"read": 0.15, "list": 0.2, "sums": 0.2, "triangle": 0.35, "refusal": 0.1},
        {
            "read": 0.05,
            "list": 0.05,
            "sums": 0.1,
            "triangle": 0.35,
            "quadrilateral": 0.25,
            "missing": 0.05,
            "refusal": 0.15,
        },
    ),
    "direct": (
        {"read": 0.2, "list": 0.2, "sums": 0.2, "direct": 0.3, "refusal": 0.1},
        {"read": 0.05, "sums": 0.1, "direct": 0.7, "refusal": 0.15},
    ),
}
WARMUP = 30  # steps


def optimizers(model: Any, rate: float) -> list[Any]:
    """Muon for the hidden matrices, AdamW for embeddings, norms, biases and the patch filter (Jordan et al., 2024)."""
    import torch

    from tiny.muon import Muon

    matrices: list[Any] = []
    others: list[Any] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        hidden = weight.ndim == 2 and not any(part in name for part in ("embed", "lm_head", "head.", "eye."))
        (matrices if hidden else others).append(weight)
    return [
        Muon(matrices, lr=rate * 10, weight_decay=0.01),
        torch.optim.AdamW(others, lr=rate * 1.5, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def mixture(phase: str, progress: float) -> dict[str, float]:
    """The share of each task at a point of a phase, `progress` 0..1."""
    start, end = PHASES[phase]
    return {task: (1 - progress) * start.get(task, 0) + progress * end.get(task, 0) for task in {**start, **end}}


def rate_at(phase: str, step: int, progress: float) -> float:
    """Factor on the learning rate: warm up, stay, and (except in phases before others) fall to a twentieth."""
    warm = min(1.0, (step + 1) / WARMUP)
    if phase in ("sight", "read", "place") or progress < 2 / 3:
        return warm
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (progress * 3 - 2))))


def train(
    out: Path, *, minutes: float = math.inf, steps: float = math.inf, phase: str = "read", start: Path | None = None,
    seed: int = 0, rate: float = 2e-3, device: str = "cpu",
) -> None:  # fmt: skip
    """Train for a number of minutes or steps, whichever ends first.

    Leaves weights, tokenizer and `log.jsonl` in `out`; the weights are saved every five minutes.
    """
    import torch

    workers, worker = _join_workers()
    torch.manual_seed(seed)
    rng = random.Random(f"{seed} {phase} {worker}")
    model, tokenizer = _load(start) if start else _new()
    model.to(device).train()
    learner, learn = (_vision_learner if phase == "sight" else _model_learner)(model, tokenizer, phase, seed, rng)
    stack = optimizers(learner.to(device), rate)
    out.mkdir(parents=True, exist_ok=True)
    begin = saved = time.monotonic()
    with (out / "log.jsonl").open("a") as log:
        step = 0
        while (progress := _agree(_progress(step, steps, begin, minutes), workers)) < 1:
            loss, scores = learn(progress, step % 10 == 0 and worker == 0)
            loss.backward()
            _average_gradients(learner, workers)
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            _descend(stack, rate_at(phase, step, progress))
            if scores:
                entry = {"step": step, "seconds": round(time.monotonic() - begin), **scores}
                print(json.dumps(entry), file=log, flush=True)
            step += 1
            if worker == 0 and time.monotonic() - saved > 300:
                save(out, model, tokenizer, worked.PROTOCOL)
                saved = time.monotonic()
    if worker == 0:
        save(out, model, tokenizer, worked.PROTOCOL)


Learn = Callable[[float, bool], tuple[Any, dict[str, Any] | None]]
"""(progress 0..1, whether to score) -> the loss of a fresh batch, and its scores for the log."""


def _vision_learner(model: Any, tokenizer: Any, phase: str, seed: int, rng: random.Random) -> tuple[Any, Learn]:
    """The vision tower and its auxiliary head; slips first, then pages."""
    import torch

    head = sight.head(model.config.text_config.hidden_size)

    def learn(progress: float, score: bool) -> tuple[Any, dict[str, Any] | None]:
        loss, found = sight.loss(model, head, rng, slips=max(0.1, 1 - 4 * progress))
        return loss, {"task": phase, "loss": round(loss.item(), 4), **found} if score else None

    return torch.nn.ModuleDict({"visual": model.model.visual, "head": head}), learn


def _model_learner(model: Any, tokenizer: Any, phase: str, seed: int, rng: random.Random) -> tuple[Any, Learn]:
    """The whole model on the tasks of a phase; all workers take the same task at the same step."""
    import torch

    schedule = random.Random(f"{seed} {phase}")
    model.model.visual.requires_grad_(phase != "place")  # it knows characters by then, but the model no positions
    width = model.config.text_config.hidden_size
    head, eye = places.head(width), sight.head(width)

    def learn(progress: float, score: bool) -> tuple[Any, dict[str, Any] | None]:
        shares = mixture(phase, progress)
        name = schedule.choices(list(shares), list(shares.values()))[0]
        task, count = TASKS[name]
        batch = {k: v.to(model.device) for k, v in collate([task(rng) for _ in range(count)], tokenizer).items()}
        output = model(**batch, output_hidden_states=True)
        loss = output.loss
        if phase != "read" or progress > 0.15:  # earlier, it would learn positions only
            loss = loss + 0.2 * places.loss(head, output.hidden_states[places.LAYER], batch)
        seen: dict[str, float] = {}
        if phase in ("skills", "sft", "direct"):  # the vision tower continues to learn
            blur, seen = sight.loss(model, eye, rng, slips=0.1, pages=6)
            loss = loss + 0.1 * blur
        return loss, {"task": name, "rows": count, **_scores(output, batch), **seen} if score else None

    return torch.nn.ModuleDict({"model": model, "head": head, "eye": eye}), learn


def _descend(stack: list[Any], factor: float) -> None:
    for optimizer in stack:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * factor
        optimizer.step()
        optimizer.zero_grad()


def _scores(output: Any, batch: Mapping[str, Any]) -> dict[str, float]:
    """Loss, and the share of turns' tokens and of whole rows predicted right under teacher forcing."""
    guess, label = output.logits[:, :-1].argmax(-1), batch["labels"][:, 1:]
    right, counted = guess == label, label != IGNORE
    return {
        "loss": round(output.loss.item(), 4),
        "tokens_right": round((right & counted).sum().item() / counted.sum().item(), 4),
        "rows_right": round((right | ~counted).all(1).float().mean().item(), 3),
    }


def _join_workers() -> tuple[int, int]:
    """How many processes train together (torchrun says) and which of them this is."""
    import torch.distributed

    if "WORLD_SIZE" not in os.environ:
        return 1, 0
    torch.distributed.init_process_group("gloo")
    return torch.distributed.get_world_size(), torch.distributed.get_rank()


def _progress(step: int, steps: float, begin: float, minutes: float) -> float:
    return max(step / steps, (time.monotonic() - begin) / (minutes * 60))


def _agree(progress: float, workers: int) -> float:
    """The first worker's clock, so that all stop at the same step."""
    import torch

    if workers == 1:
        return progress
    shared = torch.tensor(progress, dtype=torch.float64)
    torch.distributed.broadcast(shared, 0)
    return float(shared)


def _average_gradients(model: Any, workers: int) -> None:
    import torch
    import torch.distributed

    if workers == 1:
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    flat = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights])
    torch.distributed.all_reduce(flat)
    parts = torch.split(flat, [w.numel() for w in weights])  # type: ignore[no-untyped-call]
    for weight, grad in zip(weights, parts, strict=True):
        weight.grad = (grad / workers).view_as(weight)


def _new() -> tuple[Any, Any]:
    tokenizer = build_tokenizer(constants(worked.PROTOCOL), words())
    return build_model(tokenizer), tokenizer


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model, PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--steps", type=float, default=math.inf)
    parser.add_argument("--phase", choices=["sight", *PHASES], default="read")
    parser.add_argument("--from", dest="start", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if math.isinf(options.minutes) and math.isinf(options.steps):
        parser.error("--minutes or --steps is required")
    train(**vars(options))


if __name__ == "__main__":
    main(sys.argv[1:])
