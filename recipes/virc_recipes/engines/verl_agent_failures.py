"""A rollout that failed stops the run.

verl 0.9.1 would pad its group with empty rows and go on, so that a judge that is down would teach nothing, silently.
Set `trainer.v1.sampler.custom_sampler` to `{path: pkg://virc_recipes.engines.verl_agent_failures, name: Strict}`.
"""

from typing import Any

from omegaconf import OmegaConf  # type: ignore[import-not-found]
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer  # type: ignore[import-not-found]


class Strict(ReplayBuffer):  # type: ignore[misc]
    """verl's own replay buffer but for failed rollouts.

    Args:
        sampler_kwargs: further arguments of verl's, which hands none on to another class than its own:
            `filter_groups_metric`, `train_batch_size`, `gen_batch_size` (1) and `max_inflight_gen_batches` where
            `algorithm.filter_groups` is on, and `poll_interval` in seconds.
        given: what verl gives every replay buffer.
    """

    def __init__(self, *, sampler_kwargs: Any, **given: Any) -> None:
        more = {str(key): value for key, value in OmegaConf.to_container(sampler_kwargs or {}).items()}
        super().__init__(sampler_kwargs=sampler_kwargs, **given, **more)

    def _sync_metadata_from_transfer_queue(self) -> None:
        super()._sync_metadata_from_transfer_queue()
        failed = sum(len(groups) for groups in self.failure_keys.values())
        if failed:
            raise RuntimeError(
                f"rollouts of {failed} prompts failed, or their rewards: the reason stands above"
            )
