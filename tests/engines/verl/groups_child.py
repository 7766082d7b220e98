"""Runs in the engine's interpreter: what verl's trainer makes of groups, by the total of a settings file.

Of each case it prints the advantages and rewards twice, as they are computed twice, and the groups that are left out
as equal.

`groups_child.py CASES`: JSON, [settings, said] of each case; `said` is [key, is padding, what `compute_score` said] of
each reply. The queue, the trainer's class and its advantages are verl's own; only the models are not there.
"""

import json
import sys
from typing import Any
from unittest.mock import Mock

import ray
import torch
import transfer_queue
from omegaconf import OmegaConf
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.core_algos import AdvantageEstimator

from virc.engines.verl.trainer import Trainer

Said = list[tuple[str, bool, dict[str, Any]]]


def nested(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def queued(said: Said) -> KVBatchMeta:
    """The replies of a case in the queue; each is a token longer than the one before it."""
    lengths = [3 + at for at in range(len(said))]
    scores = [torch.zeros(length) for length in lengths]
    for row, (_, _, terms) in zip(scores, said, strict=True):
        row[-1] = terms["score"]
    keys = [key for key, _, _ in said]
    tags: list[dict[str, Any]] = [{"is_padding": True} if padding else {} for _, padding, _ in said]
    fields = TensorDict(
        {
            "uid": NonTensorStack(*(key.rsplit("_", 2)[0] for key in keys)),
            "response_mask": nested([torch.ones(length, dtype=torch.long) for length in lengths]),
            "rm_scores": nested(scores),
            "extra_fields": NonTensorStack(*({"reward_extra_info": terms} for _, _, terms in said)),
        },
        batch_size=len(said),
    )
    transfer_queue.kv_batch_put(keys=keys, partition_id="train", fields=fields, tags=tags)
    return KVBatchMeta(partition_id="train", keys=keys, tags=tags)


def trainer_of(settings: str) -> Trainer:
    trainer = Trainer.__new__(Trainer)
    trainer.trainer_mode = "sync"
    trainer.config = OmegaConf.create(
        {
            "reward": {"custom_reward_function": {"reward_kwargs": {"settings": settings}}},
            "algorithm": {
                "use_kl_in_reward": False,
                "adv_estimator": AdvantageEstimator.GRPO.value,
                "gamma": 1.0,
                "lam": 1.0,
                "norm_adv_by_std_in_grpo": False,
            },
            "actor_rollout_ref": {"rollout": {"n": 2}},
            "trainer": {
                "v1": {
                    "sampler": {
                        "custom_sampler": {"path": "pkg://virc.engines.verl.agent_failures", "name": "Strict"},
                        "max_off_policy_threshold": None,
                        "max_off_policy_strategy": "drop",
                        "sampler_kwargs": {"filter_groups_metric": "reward", "train_batch_size": 2},
                    }
                }
            },
        }
    )
    return trainer


def made_of(settings: str, said: Said) -> list[Any]:
    batch, trainer = queued(said), trainer_of(settings)
    trainer.replay_buffer = buffer = trainer._build_replay_buffer()
    trainer.checkpoint_manager, trainer.curr_step_profile, trainer._sees = Mock(), False, True
    buffer.compare, buffer.batch = trainer._compare, batch.select_keys([key for key, padding, _ in said if not padding])
    buffer.partitions["train"] = dict(zip(batch.keys, batch.tags, strict=True))
    buffer.finished_keys["train"] = {key.split("_")[0] for key in batch.keys}
    equal = buffer._terminal_eviction_reasons(1, "train")[1]
    found = []
    for _ in range(2):  # the second time changes nothing
        trainer.on_sample_end()
        trainer._compute_advantage(batch, {})
        data = transfer_queue.kv_batch_get(
            keys=batch.keys, partition_id="train", select_fields=["advantages", "rm_scores"]
        )
        found.append({name: [row.tolist() for row in data[name].unbind()] for name in ("advantages", "rm_scores")})
    transfer_queue.kv_clear(keys=batch.keys, partition_id="train")
    return [*found, sorted(equal)]


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
transfer_queue.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))
cases = [made_of(settings, said) for settings, said in json.loads(sys.argv[1])]
transfer_queue.close()
ray.shutdown()
print(json.dumps(cases))
