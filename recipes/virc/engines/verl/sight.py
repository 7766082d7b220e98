"""Whether verl's actor sees the pictures of its rollouts, at the first step of a run that has some.

verl hands pictures on as patches, with the ids of a rollout. The check exchanges the patches of one picture at a time
and has the actor give its log-probabilities again, through all that a training step goes through.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import torch
import transfer_queue as tq  # type: ignore[import-not-found]
from PIL import Image
from tensordict import NonTensorStack, TensorDict  # type: ignore[import-not-found]
from verl.workers.utils.padding import response_from_nested  # type: ignore[import-not-found]

from virc.backends.checkpoint import folder_grid
from virc.engines.verl.trainer_pixels import TOLERANCE, check_trainer
from virc.reasoning.resize import Tiles
from virc.reasoning.trace import Trace

_ROUNDED = 0.2  # nats a token that a sampler in bfloat16 may differ by from an actor in float32
_INPUTS = "multi_modal_inputs"


def check_actor(actor: Any, batch: Any, keys: Iterable[str], config: Any) -> bool:
    """Whether there was a rollout with pictures to check the actor by; `keys` are those of `batch` but its padding.

    Raises:
        ConfigError: the actor does not see what the rollout saw.
    """
    for key in keys:
        fields = ["extra_fields", _INPUTS, "response_mask", "rollout_log_probs"]
        found = tq.kv_batch_get(keys=[key], partition_id=batch.partition_id, select_fields=fields)
        (extra,), (inputs,) = ([getattr(each, "data", each) for each in found[name]] for name in fields[:2])
        drawn = found["response_mask"].unbind()[0].bool()
        trace = msgspec.json.decode(extra["rollout"], type=Trace)
        shown = _shown(trace)
        if shown and drawn.any() and extra["drawn"]:
            chosen, rows = _part(actor, batch, key, config), _rows(inputs or {}, trace, shown, config)
            tolerance = TOLERANCE if config.actor_rollout_ref.rollout.dtype == "float32" else _ROUNDED
            _check(actor, chosen, key, (inputs or {}, len(shown), rows), (_reference(found, drawn, config), tolerance))
            return True
    return False


def _check(
    actor: Any,
    batch: Any,
    key: str,
    seen: tuple[dict[str, Any], int, list[int]],
    drawn: tuple[list[float] | None, float],
) -> None:
    """Check it by one rollout.

    Args:
        seen: what the actor gets of pictures, how many the sampler was shown, and the patches or tiles of each.
        drawn: the sampler's log-probabilities, and what they may differ by.
    """
    inputs, shown, rows = seen
    patches, ends = inputs.get("pixel_values"), [0, *accumulate(rows)]
    pictures = [Image.new("L", (1, 1)) for _ in range(shown)]  # that stand for the patches of each

    def logprobs(given: Sequence[Image.Image]) -> list[float]:
        changed = dict(inputs)
        if patches is not None:
            changed["pixel_values"] = patches.clone()
            for picture, own, (start, stop) in zip(given, pictures, pairwise(ends), strict=False):
                if picture is not own:
                    changed["pixel_values"][start:stop] = _other(patches[start:stop])
        put = TensorDict({_INPUTS: NonTensorStack(changed)}, 1)
        tq.kv_batch_put(keys=[key], partition_id=batch.partition_id, fields=put)
        actor.compute_log_prob(batch)
        names = ["log_probs", "response_mask"]
        data = tq.kv_batch_get(keys=[key], partition_id=batch.partition_id, select_fields=names)
        (chances,) = response_from_nested(data["log_probs"], data["response_mask"]).unbind()
        return [float(each) for each in chances[data["response_mask"].unbind()[0].bool()]]

    try:
        check_trainer(logprobs, pictures, *drawn)
    finally:
        put = TensorDict({_INPUTS: NonTensorStack(inputs)}, 1)
        tq.kv_batch_put(keys=[key], partition_id=batch.partition_id, fields=put)


def _other(patches: torch.Tensor) -> torch.Tensor:
    """Patches of a picture that is exchanged, each far from what it was: half of the range of normalised levels."""
    return torch.where(patches < 0, patches + 2, patches - 2)


def _part(actor: Any, batch: Any, key: str, config: Any) -> Any:
    settings = config.actor_rollout_ref.rollout
    wanted = actor.world_size * (settings.log_prob_micro_batch_size_per_gpu or 1)
    others = [each for each in batch.keys if each != key]
    part = batch.select_keys([key, *others[: wanted - 1]])
    part.extra_info |= {"calculate_entropy": False, "compute_loss": False, "temperature": settings.temperature}
    return part


def _shown(trace: Trace) -> list[int]:
    """The indices of the pictures that were shown before the last reply."""
    last = max((at for at, each in enumerate(trace.messages) if each.role == "assistant"), default=0)
    return [index for each in trace.messages[:last] for index in each.images]


def _rows(inputs: dict[str, Any], trace: Trace, shown: Sequence[int], config: Any) -> list[int]:
    """How many rows of patches or tiles each picture has."""
    counts = inputs.get("image_grid_thw")
    if counts is not None or "pixel_values" not in inputs:
        return [] if counts is None else list(counts.prod(-1).tolist())
    grid = folder_grid(Path(config.actor_rollout_ref.model.path))
    seen = [trace.images[index] for index in shown]
    tiles = [grid.tiles(each.width, each.height) if isinstance(grid, Tiles) and not grid.fills else 1 for each in seen]
    if "target_sizes" not in inputs:
        return tiles
    patches = iter(inputs["target_sizes"].prod(-1).tolist())
    return [sum(islice(patches, count)) for count in tiles]


def _reference(found: Any, drawn: torch.Tensor, config: Any) -> list[float] | None:
    """The sampler's log-probabilities, if it drew from the whole vocabulary, as the actor computes them."""
    settings = config.actor_rollout_ref.rollout
    if settings.top_p != 1 or settings.top_k > 0 or "rollout_log_probs" not in found.keys():  # noqa: SIM118
        return None
    return [float(each) for each in found["rollout_log_probs"].unbind()[0][drawn]]
