"""Runs in the engine's interpreter: the loss of groups with a stored reply, and its slopes, by verl's functions."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from verl.trainer.ppo.core_algos import agg_loss, compute_grpo_outcome_advantage, get_policy_loss_fn, kl_penalty  # type: ignore[import-not-found]
from verl.workers.config import ActorConfig  # type: ignore[import-not-found]

from virc_extras.token_weights import stored_in_verl  # noqa: F401  # which registers its loss

published = json.loads(Path(sys.argv[1]).read_bytes())
config = ActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
found = []
for case in published["cases"]:
    mask, now = torch.tensor(case["mask"]), torch.tensor(case["now"], requires_grad=True)
    rewards = torch.zeros(mask.shape)
    rewards[torch.arange(len(mask)), mask.sum(1) - 1] = torch.tensor(case["rewards"])
    advantages, _ = compute_grpo_outcome_advantage(rewards, mask, np.zeros(len(mask)))
    loss, _ = get_policy_loss_fn("stored")(
        old_log_prob=now.detach(), log_prob=now, advantages=advantages, response_mask=mask.bool(),
        loss_agg_mode="seq-mean-token-mean", config=config, rollout_is_weights=None,
    )  # fmt: skip
    distance = kl_penalty(now, torch.tensor(case["reference"]), "low_var_kl")
    loss = loss + published["beta"] * agg_loss(distance, mask, loss_agg_mode="seq-mean-token-mean")
    loss.backward()
    assert now.grad is not None
    found.append([float(loss), *now.grad.flatten().tolist()])
print(json.dumps(found))
