"""Every private name of verl and Ray that virc uses, each since there is no public way to the same.

They hold for verl 0.9.1 and Ray 2.60.
"""

from collections.abc import Callable, Iterator
from typing import Any

RAY_FOLDER = "_temp_dir"
"""The argument of `ray.init` for the folder of its files: it is documented, underscore and all."""


def dead_actors() -> list[dict[str, Any]]:
    """Ray's actors that died. `ray.util.state` asks the dashboard, and a run has none."""
    import ray  # type: ignore[import-not-found]

    return [*ray._private.state.state.actor_table(None, None, "DEAD").values()]


def wrap_poll(buffer: Any, before: Callable[[str], None], after: Callable[[int, int], None]) -> None:
    """Call functions around the choice of groups to leave out, which verl's buffer makes each time it reads its queue.

    `sample`, its public hook, returns only when a batch is whole. `before` gets the partition, `after` the step and how
    many groups have equal rewards.
    """
    reasons = buffer._terminal_eviction_reasons

    def chosen(global_steps: int, partition_id: str) -> Any:
        before(partition_id)
        found = reasons(global_steps, partition_id)
        after(global_steps, len(found[1]))
        return found

    buffer._terminal_eviction_reasons = chosen


def after_advantages(trainer: Any, change: Callable[[Any, dict[str, Any]], None]) -> None:
    """Call a function with each batch whose advantages are computed, and with the metrics of its step.

    What verl registers as an estimator of advantages gets rewards and masks alone, neither the batch nor the actor.
    """
    compute = trainer._compute_advantage

    def computed(batch: Any, metrics: dict[str, Any]) -> Any:
        batch = compute(batch, metrics)
        change(batch, metrics)
        return batch

    trainer._compute_advantage = computed


def mend_merging(built: Any) -> None:
    """Have verl send what an adapter and its base make as it is: it rounds that to bfloat16."""

    def merged(self: Any) -> Iterator[tuple[str, Any]]:
        with built.merged_lora_context(self.module, backup_adapters=True):
            weights = built.normalize_peft_param_name(self.module.state_dict())
            for name, weight in built.convert_weight_keys(weights, self.module).items():
                yield name, weight.full_tensor() if isinstance(weight, built.DTensor) else weight.detach().clone()
        if self._is_offload_param:
            built.offload_fsdp_model_to_cpu(self.module)

    built.FSDPEngine._merged_lora_per_tensor_param = merged
