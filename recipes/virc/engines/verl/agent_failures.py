"""A rollout that failed, or its reward, stops the run; and so does drawing without end for groups that differ.

Rollouts are learnt from in the order of their prompts, not in that in which they were done: sums of floats differ.

verl 0.9.1 would pad its group with empty rows and go on, so that a judge that is down would teach nothing, silently.
Set `trainer.v1.sampler.custom_sampler` to `{path: pkg://virc.engines.verl.agent_failures, name: Strict}`. The
reason comes from another process, whose log verl writes it to; it travels as a tag in verl's own queue.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import transfer_queue as tq  # type: ignore[import-not-found]
from omegaconf import OmegaConf  # type: ignore[import-not-found]
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer  # type: ignore[import-not-found]

from virc.core.errors import EngineError
from virc.engines.verl import private
from virc.engines.verl.cause import cause

_LOGGER = "verl.trainer.ppo.v1.agent_loop_tq"
_REASONS = "virc_failures"  # a partition of the queue
_MOST = 2000  # characters of a reason
FRUITLESS = 10
"""Batches of groups with equal rewards that are drawn for one step; verl knows no end. As DAPO's script has it."""


class Strict(ReplayBuffer):  # type: ignore[misc]
    """verl's own replay buffer but for failed rollouts, and for groups that never differ.

    Args:
        sampler_kwargs: further arguments of verl's, which hands none on to another class than its own:
            `filter_groups_metric`, `train_batch_size`, `gen_batch_size` (1) and `max_inflight_gen_batches` where
            `algorithm.filter_groups` is on, and `poll_interval` in seconds.
        given: what verl gives every replay buffer.
    """

    def __init__(self, *, sampler_kwargs: Any, **given: Any) -> None:
        more = {str(key): value for key, value in OmegaConf.to_container(sampler_kwargs or {}).items()}
        super().__init__(sampler_kwargs=sampler_kwargs, **given, **more)
        self.compare: Callable[[list[str], str], None] | None = None
        """Called with the keys of new rollouts and their partition before groups are left out by their rewards."""
        self.validated: Callable[[Any], None] | None = None
        """Called with the batch of a validation, which verl clears afterwards."""
        self.batch: Any = None
        """The last that was sampled."""
        self._seen: set[str] = set()  # prompts whose rollouts were compared
        self._equal: Counter[int] = Counter()  # step -> groups with equal rewards
        private.wrap_poll(self, self._check, self._count)

    def _check(self, partition: str) -> None:
        if any(self.failure_keys.values()):
            noted = [tag["reason"] for tag in self.partitions.get(_REASONS, {}).values()]
            raise RuntimeError(f"a rollout or its reward failed: {noted[0] if noted else 'see its log above'}")
        if self.compare and self.filter_groups_metric is not None and partition != "val":
            new, self._seen = self.finished_keys[partition] - self._seen, {*self.finished_keys[partition]}
            self.compare([key for key in self.partitions[partition] if key.split("_")[0] in new], partition)

    def _count(self, step: int, groups: int) -> None:
        self._equal[step] += groups
        equal = self._equal[step]
        if equal > FRUITLESS * (self.train_batch_size or equal):
            raise EngineError(
                f"dynamic_sampling found too few groups for step {step}: in each of {equal} others all replies have "
                "the same reward"
            )

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """verl's batch, in the order of its prompts."""
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        place = {prompt: number for number, prompt in enumerate(self.prompt_global_steps[partition_id])}

        def order(key: str) -> tuple[int, int, int]:
            prompt, reply, number = key.rsplit("_", 2)
            return place[prompt], int(reply), int(number)

        self.batch = batch.select_keys(sorted(batch.keys, key=order))
        if self.validated and partition_id == "val":
            self.validated(self.batch)
        return self.batch, metrics


class _Tells(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            tq.kv_put(key=uuid4().hex, partition_id=_REASONS, tag={"reason": cause(record.exc_info[1])[:_MOST]})


@cache
def tell() -> None:
    """Tell `Strict` what verl logs of failed rollouts in this process, of which the first is the reason."""
    logging.getLogger(_LOGGER).addHandler(_Tells())
