"""`visual` in verl 0.9.1: a policy loss of that name, and advantages that are weighed in the trainer's process."""

import json
import os
from typing import Any

import torch
import transfer_queue as tq  # type: ignore[import-not-found]
from tensordict import NonTensorStack, TensorDict  # type: ignore[import-not-found]
from verl.trainer.ppo import core_algos  # type: ignore[import-not-found]
from verl.workers.utils.padding import response_from_nested, response_to_nested  # type: ignore[import-not-found]

from virc.stages.token_weights import VARIABLE
from virc_extras.token_weights import visual
from virc_extras.token_weights.dependence import blackened, dependence, most_dependent, scales

_INPUTS, _PATCHES = "multi_modal_inputs", "pixel_values"


@core_algos.register_policy_loss("visual")  # type: ignore[untyped-decorator]
def loss(old_log_prob: Any, log_prob: Any, advantages: Any, response_mask: Any, **named: Any) -> tuple[Any, Any]:
    """verl's own, and the mean negative log-probability of the tokens drawn, times `nll`."""
    found, metrics = core_algos.compute_policy_loss_vanilla(old_log_prob, log_prob, advantages, response_mask, **named)
    settings = json.loads(os.environ[VARIABLE])[visual.IN_VERL]
    if settings["nll"]:
        batch = named["config"].global_batch_info
        mean = core_algos.agg_loss(-log_prob, response_mask, loss_agg_mode=named["loss_agg_mode"], **batch)
        found = found + settings["nll"] * mean
    return found, metrics


def weigh(trainer: Any, batch: Any, settings: dict[str, float], metrics: dict[str, Any]) -> None:
    """Multiply the advantages of a batch by the weights of their tokens, and put them back.

    Args:
        metrics: gets the mean dependence of tokens that keep their advantage, and of those that do not.
    """
    fields = [_INPUTS, "old_log_probs", "advantages", "response_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
    mask = data["response_mask"].to_padded_tensor(0)
    blind = _blind(trainer, batch, [getattr(each, "data", each) for each in data[_INPUTS]], settings["black"])
    found = dependence(data["old_log_probs"].to_padded_tensor(0), blind.to_padded_tensor(0)) * mask
    chosen = most_dependent(found, mask, settings["share"])
    weights = chosen * scales(found, mask, settings["least"])[:, None]
    advantages = data["advantages"].to_padded_tensor(0) * weights
    put = TensorDict({"advantages": response_to_nested(advantages, data["response_mask"])}, len(batch.keys))
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=put)
    others = mask - chosen
    metrics["actor/visual_dependence_chosen"] = float((found * chosen).sum() / chosen.sum().clamp(min=1))
    metrics["actor/visual_dependence_others"] = float((found * others).sum() / others.sum().clamp(min=1))


def _blind(trainer: Any, batch: Any, inputs: list[Any], share: float) -> Any:
    """Log-probabilities of the replies of a batch with pictures that are partly black, as a jagged tensor."""
    settings = trainer.config.actor_rollout_ref.rollout
    drawn = torch.Generator().manual_seed(int(settings.seed or 0) * 100_003 + trainer.global_steps)
    black = _black(trainer.processor.image_processor)
    changed = [
        {**each, _PATCHES: blackened(each[_PATCHES], black, share, drawn)} if _PATCHES in (each or {}) else each
        for each in inputs
    ]
    batch.extra_info |= {"calculate_entropy": False, "compute_loss": False, "temperature": settings.temperature}
    try:
        _put(batch, changed)
        trainer.actor_rollout_wg.compute_log_prob(batch)
    finally:
        _put(batch, inputs)
    fields = ["log_probs", "response_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
    return response_from_nested(data["log_probs"], data["response_mask"])


def _put(batch: Any, inputs: list[Any]) -> None:
    put = TensorDict({_INPUTS: NonTensorStack(*inputs)}, len(inputs))
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=put)


def _black(processor: Any) -> torch.Tensor:
    """What a black pixel is in each channel for a model."""
    return -torch.tensor(processor.image_mean) / torch.tensor(processor.image_std)
