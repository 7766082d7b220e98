"""Runs in the engine's interpreter: what verl's trainer makes of groups, by the total of a settings file.

It prints the advantages and rewards twice, as they are computed twice, and the groups that are left out as equal.

`groups_child.py SETTINGS SAID`: `said` is JSON, [key, is padding, what `compute_score` said] of each reply. The queue,
the trainer's class and its advantages are verl's own; only the models are not there.
"""

import json
import sys
from typing import Any

import ray
import torch
import transfer_queue
from omegaconf import OmegaConf
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.core_algos import AdvantageEstimator

from virc_recipes.engines.verl_trainer import Trainer

settings, said = sys.argv[1], json.loads(sys.argv[2])
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
transfer_queue.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))


def nested(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


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
batch = KVBatchMeta(partition_id="train", keys=keys, tags=tags)
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
                    "custom_sampler": {
                        "path": "pkg://virc_recipes.engines.verl_agent_failures",
                        "name": "Strict",
                    },
                    "max_off_policy_threshold": None,
                    "max_off_policy_strategy": "drop",
                    "sampler_kwargs": {"filter_groups_metric": "reward", "train_batch_size": 2},
                }
            }
        },
    }
)
buffer = trainer._build_replay_buffer()
buffer.partitions["train"] = dict(zip(keys, tags, strict=True))
buffer.finished_keys["train"] = {key.split("_")[0] for key in keys}
equal, _ = buffer._dapo_filtered_keys("train")
found = []
for _ in range(2):  # the second time changes nothing
    trainer._compute_advantage(batch, {})
    data = transfer_queue.kv_batch_get(
        keys=keys, partition_id="train", select_fields=["advantages", "rm_scores"]
    )
    found.append(
        {name: [row.tolist() for row in data[name].unbind()] for name in ("advantages", "rm_scores")}
    )
transfer_queue.close()
ray.shutdown()
print(json.dumps([*found, sorted(equal)]))
