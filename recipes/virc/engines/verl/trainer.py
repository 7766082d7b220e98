"""verl's trainer with what it does not measure itself: reward terms, groups without variance, replies cut at the limit.

Before advantages are computed, rewards of a prompt's replies become what the total's `group` makes of them.
It runs in the process of verl's `TaskRunnerV1`, whose trackers then get these numbers too, and leaves some rollouts of
a step to look at where VIRC_ROLLOUTS, `EVERY:FOLDER`, says so. An extra shows these, and those of validations, in the
trackers.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
import transfer_queue as tq  # type: ignore[import-not-found]
from tensordict import TensorDict  # type: ignore[import-not-found]
from verl.trainer.ppo.v1 import trainer_base  # type: ignore[import-not-found]
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync  # type: ignore[import-not-found]

from virc.core import entry_points
from virc.engines.verl import private
from virc.engines.verl.sight import check_actor
from virc.reasoning.media import FILES
from virc.reasoning.trace import Trace
from virc.rewards.verl import compared
from virc.runs import rollout_stats as rollouts
from virc.runs.rollout_stats import Rollout
from virc.stages import token_weights

LEAVES = "VIRC_ROLLOUTS"
_FIELDS = ["extra_fields", "extra_info", "responses", "rm_scores"]


def install() -> None:
    """Make verl train with `Trainer`; to be called where the trainer is made, before."""
    trainer_base.TRAINER_REGISTRY["sync"] = Trainer


class Trainer(PPOTrainerSync):  # type: ignore[misc]
    """verl's own trainer, with further metrics of each step, and rewards compared as their total says."""

    _sees = False  # its actor the pictures of rollouts, which is checked once

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.replay_buffer.compare = self._compare  # groups with equal rewards are left out by those compared
        private.after_advantages(self, self._weigh)
        self.replay_buffer.validated = lambda batch: self._track("val", _rollouts(batch))

    def on_sample_end(self) -> None:
        """verl's own, and rewards are compared; at the first step with pictures the actor must see them."""
        super().on_sample_end()
        batch = self.replay_buffer.batch
        self._compare(batch.keys, batch.partition_id)
        if not self._sees:
            self._sees = check_actor(self.actor_rollout_wg, batch, batch.keys, self.config)
            if self._sees:
                print("virc: the actor sees the pictures of its rollouts", flush=True)

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """verl's own, with what it does not measure."""
        batch = super().step(metrics, timing_raw)
        found = _rollouts(batch)
        metrics.update(rollouts.measures(found, self.config.data.max_response_length))
        every, _, folder = os.environ.get(LEAVES, "").partition(":")
        if folder and found and (self.global_steps % int(every) == 0 or self.global_steps == 1):
            rollouts.leave(Path(folder), self.global_steps, found)
            self._track("train", found)
        return batch

    def _weigh(self, batch: Any, metrics: dict[str, Any]) -> None:
        """Change the advantages of a batch as the setting `token_weights` says."""
        for module, settings in token_weights.active():
            module.weigh(self, batch, settings, metrics)

    def _track(self, part: str, found: Sequence[Rollout]) -> None:
        """Have the extra, where it is installed, show rollouts in the trackers of the run."""
        if tracker := entry_points.hook("trackers.rollouts"):
            run = Path(self.config.trainer.default_local_dir).parent
            tracker.log(self.logger.logger, f"{part}/rollouts", self.global_steps, found, run)

    def _compare(self, keys: list[str], partition: str) -> None:
        """As `regroup`; rewards of another function than ours stay as they are."""
        given = self.config.reward.custom_reward_function.get("reward_kwargs") or {}
        if settings := given.get("settings"):
            regroup(keys, partition, settings)


def regroup(keys: list[str], partition: str, settings: str) -> None:
    """Write what rewards of a prompt's replies are compared by in their place, on their last tokens.

    It is computed from the results of `compute_score`, so that a repetition changes nothing.
    """
    if not keys:
        return
    data = tq.kv_batch_get(keys=keys, partition_id=partition, select_fields=["extra_fields", "rm_scores"])
    results = [getattr(each, "data", each)["reward_extra_info"] for each in data["extra_fields"]]
    scores = [each.clone() for each in data["rm_scores"].unbind()]
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(_group(key), []).append(place)
    before = [float(each["score"]) for each in results]
    after = list(before)
    for places in groups.values():
        for place, reward in zip(places, compared(settings, [results[at] for at in places]), strict=True):
            after[place] = scores[place][-1] = reward
    if after == before:
        return
    fields = TensorDict({"rm_scores": torch.nested.as_nested_tensor(scores, layout=torch.jagged)}, len(keys))
    tq.kv_batch_put(keys=keys, partition_id=partition, fields=fields)


def _there(batch: Any) -> list[str]:
    """The keys of a batch without those of the rows that verl fills it up with."""
    return [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]


def _group(key: str) -> str:
    return key.rsplit("_", 2)[0]


def _rollouts(batch: Any) -> list[Rollout]:
    there = _there(batch)
    if not there:
        return []
    data = tq.kv_batch_get(keys=there, partition_id=batch.partition_id, select_fields=_FIELDS)
    columns = (
        [getattr(each, "data", each) for each in data["extra_fields"]],
        [getattr(each, "data", each) for each in data["extra_info"]],
        data["responses"],
        data["rm_scores"],
    )
    found = []
    for key, extra, info, response, scores in zip(there, *columns, strict=True):
        values = extra.get("reward_extra_info", {})
        if "rollout" in extra:
            found.append(
                Rollout(
                    group=_group(key),
                    reward=float(scores.sum()),
                    values={name: float(value) for name, value in values.items() if isinstance(value, int | float)},
                    tokens=len(response),
                    trace=msgspec.json.decode(extra["rollout"], type=Trace),
                    media=json.loads(info.get("extra") or "{}").get(FILES),
                    images=[image["image"] for image in info.get("images") or [] if image.get("image")],
                )
            )
    return found
