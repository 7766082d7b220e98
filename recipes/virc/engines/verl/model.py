"""Parts of the model that stay as they are in verl 0.9.1, whose own switch for that (`freeze_vision_tower`) is dead.

The variable `VIRC_FROZEN` lists the parts, comma-separated (`virc.engines.verl.external`).
"""

import os
from collections.abc import Sequence
from inspect import signature
from typing import Any

from virc.engines.environment import check_finite
from virc.families import registry as families
from virc.families.parts import PARTS, part_of

_SEEN_AS_A_TENSOR = ("qwen2_vl", "qwen2_5_vl", "glm4v")


def frozen() -> tuple[str, ...]:
    """The parts that this process keeps. Raises ValueError: one is unknown, or they are the whole model."""
    parts = tuple(filter(None, os.environ.get("VIRC_FROZEN", "").split(",")))
    if unknown := sorted(set(parts) - {*PARTS}):
        raise ValueError(f"VIRC_FROZEN names no parts of a model: {', '.join(unknown)}")
    if set(parts) == {*PARTS}:
        raise ValueError("VIRC_FROZEN leaves nothing to train")
    return parts


def freeze(model: Any, parts: Sequence[str]) -> int:
    """Take the gradients from parts of a model; returns how many weights (tensors) are frozen."""
    count = 0
    for part in parts:
        weights = [
            weight for name, weight in model.named_parameters() if part_of(name, model.config.model_type) == part
        ]
        if not weights:
            raise ValueError(f"the model has no part {part} to freeze")
        for weight in weights:
            weight.requires_grad_(False)
        count += len(weights)
    return count


def mend_building(built: Any, parts: Sequence[str]) -> None:
    """Have `built`, verl's module that builds models, freeze parts, compute rows without pictures, and say what learns.

    Parts are frozen before the model is sharded, when no optimizer has its weights. Where a batch of Qwen2-VL or
    Qwen2.5-VL has no picture, verl shows the vision part a black one, so that all devices do the same work, and takes
    the mean of what it returns: an object since transformers 5, which is made the tensor that it was before. Of GLM-4V
    it takes this object for a tensor in every batch. Gemma is told which ids are those of pictures, which see one
    another; verl would let each see those before it alone.
    """
    prepare, initialize = built.apply_monkey_patch, built.FSDPEngine.initialize

    def prepared(model: Any, **named: Any) -> None:
        prepare(model=model, **named)
        if parts:
            print(f"virc: {freeze(model, parts)} weights are frozen: {', '.join(parts)}", flush=True)
        if model.config.model_type in _SEEN_AS_A_TENSOR:
            model.base_model.visual.register_forward_hook(lambda visual, given, seen: seen.pooler_output)
        if families.of(model.config.model_type).marks.types:
            model.register_forward_pre_hook(see_pictures_whole, with_kwargs=True)
        if "target_sizes" in signature(model.forward).parameters:
            model.register_forward_pre_hook(as_strip, with_kwargs=True)

    def initialized(engine: Any) -> None:
        initialize(engine)
        if not engine.engine_config.forward_only:
            count = sum(weight.numel() for weight in engine.module.parameters() if weight.requires_grad)
            print(f"virc: {count:,} parameters are trained", flush=True)  # of all processes: FSDP2 has whole shapes

    built.apply_monkey_patch, built.FSDPEngine.initialize = prepared, initialized


def see_pictures_whole(model: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a forward pass of Gemma with what says which ids are a picture's, shape (batch, ids)."""
    types = families.of(model.config.model_type).marks.types
    return given, {**named, types: (named["input_ids"] == model.config.image_token_id).int()}


def as_strip(model: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a forward pass of MiniCPM-V with patches side by side, shape (1, 3, side, patches x side)."""
    patches = named.get("pixel_values")
    return given, named if patches is None else {**named, "pixel_values": patches.permute(1, 2, 0, 3).flatten(2)[None]}


def mend_saving(engine: Any) -> None:
    """Make an engine end the run instead of saving weights that are not finite.

    verl leaves out a step with a gradient that is not finite, not one after which weights are not.
    """
    save = engine.save_checkpoint

    def saved(self: Any, local_path: str, hdfs_path: str | None, global_step: int, *more: Any, **named: Any) -> None:
        check_finite(self.module, global_step)
        save(self, local_path, hdfs_path, global_step, *more, **named)

    engine.save_checkpoint = saved
