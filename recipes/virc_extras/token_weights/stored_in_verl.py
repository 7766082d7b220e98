"""`stored` in verl 0.9.1: how likely the model finds the replies of rows."""

from typing import Any

import transfer_queue as tq  # type: ignore[import-not-found]
from verl import DataProto  # type: ignore[import-not-found]
from verl.trainer.ppo import core_algos  # type: ignore[import-not-found]
from verl.utils.debug.metrics import calculate_debug_metrics  # type: ignore[import-not-found]

_FIELDS = ["responses", "response_mask", "old_log_probs", "rollout_log_probs"]


core_algos.register_policy_loss("stored")(core_algos.compute_policy_loss_vanilla)


def weigh(trainer: Any, batch: Any, settings: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Measure how likely the last replies of groups are, and leave them out of what compares sampler and actor.

    Advantages stay as they are.

    Args:
        metrics: gets the mean log-probability of tokens of these replies, and verl's `training/rollout_*` of others.
    """
    last = str(trainer.config.actor_rollout_ref.rollout.n - 1)
    stored_keys = [key for key in batch.keys if key.split("_")[-2:-1] == [last]]
    replies = _replies(batch, stored_keys)
    likely, mask = replies.batch["old_log_probs"], replies.batch["response_mask"]
    metrics["actor/stored_log_prob"] = float((likely * mask).sum() / mask.sum().clamp(min=1))
    metrics.update(calculate_debug_metrics(_replies(batch, [key for key in batch.keys if key not in stored_keys])))


def _replies(batch: Any, keys: list[str]) -> Any:
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=_FIELDS)
    return DataProto(batch=data.to_padded_tensor(0))
