"""`second` in verl 0.9.1: losses and advantages are verl's own."""

from typing import Any

from verl.trainer.ppo import core_algos  # type: ignore[import-not-found]

core_algos.register_policy_loss("second")(core_algos.compute_policy_loss_vanilla)


def weigh(trainer: Any, batch: Any, settings: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Leave the advantages as they are."""
