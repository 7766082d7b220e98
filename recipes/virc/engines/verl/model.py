"""Parts of the model that stay as they are in verl 0.9.1, whose own switch for that (`freeze_vision_tower`) is dead.

The variable `VIRC_FROZEN` lists the parts, comma-separated (`virc.engines.verl.external`).
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from virc.engines.environment import check_finite

PARTS: dict[str, Callable[[str], bool]] = {
    "vision": lambda name: "visual." in name and "merger" not in name,
    "projector": lambda name: "visual." in name and "merger" in name,
    "language": lambda name: "visual." not in name,
}
"""Which weights of Qwen2-VL, Qwen2.5-VL and Qwen3-VL belong to a part, by their names in the whole model."""


def frozen() -> tuple[str, ...]:
    """The parts that this process keeps. Raises ValueError: one is unknown, or they are the whole model."""
    parts = tuple(filter(None, os.environ.get("VIRC_FROZEN", "").split(",")))
    if unknown := sorted(set(parts) - PARTS.keys()):
        raise ValueError(f"VIRC_FROZEN names no parts of a model: {', '.join(unknown)}")
    if set(parts) == PARTS.keys():
        raise ValueError("VIRC_FROZEN leaves nothing to train")
    return parts


def freeze(model: Any, parts: Sequence[str]) -> int:
    """Take the gradients from parts of a model; returns how many weights (tensors) are frozen."""
    count = 0
    for part in parts:
        weights = [weight for name, weight in model.named_parameters() if PARTS[part](name)]
        if not weights:
            raise ValueError(f"the model has no part {part} to freeze")
        for weight in weights:
            weight.requires_grad_(False)
        count += len(weights)
    return count


def patch_model_building(parts: Sequence[str]) -> None:
    """Freeze parts before the model is sharded, when no optimizer has its weights, and say how many are trained."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine  # type: ignore[import-not-found]

    build, shard = FSDPEngine._build_module, FSDPEngine._build_fsdp_module

    def _build_module(engine: Any) -> Any:
        model = build(engine)
        if parts:
            count = freeze(model, parts)
            print(f"virc: {count} weights are frozen: {', '.join(parts)}", flush=True)
        return model

    def _build_fsdp_module(engine: Any, model: Any) -> Any:
        if not engine.engine_config.forward_only:
            count = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            print(f"virc: {count:,} parameters are trained", flush=True)
        return shard(engine, model)

    FSDPEngine._build_module, FSDPEngine._build_fsdp_module = _build_module, _build_fsdp_module


def mend_saving(engine: Any) -> None:
    """Make an engine end the run instead of saving weights that are not finite.

    verl leaves out a step with a gradient that is not finite, not one after which weights are not.
    """
    save = engine.save_checkpoint

    def saved(self: Any, local_path: str, hdfs_path: str | None, global_step: int, *more: Any, **named: Any) -> None:
        check_finite(self.module, global_step)
        save(self, local_path, hdfs_path, global_step, *more, **named)

    engine.save_checkpoint = saved
