"""Runs in the engine's interpreter: the policy loss `visual` of verl on the numbers of the published program."""

import json
import os
import sys
from pathlib import Path

import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn  # type: ignore[import-not-found]
from verl.workers.config import ActorConfig  # type: ignore[import-not-found]

from virc.stages.token_weights import VARIABLE
from virc_extras.token_weights import visual_in_verl

published = json.loads(Path(sys.argv[1]).read_bytes())
low, high, dual = published["clip"]
os.environ[VARIABLE] = json.dumps({visual_in_verl.__name__: {"nll": published["nll"]}})
config = ActorConfig(
    strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio_low=low, clip_ratio_high=high,
    clip_ratio_c=dual,
)  # fmt: skip
losses = []
for case in published["cases"]:
    old, now, advantages, mask = (torch.tensor(case[name]) for name in ("seen", "now", "weighed", "mask"))
    loss, _ = get_policy_loss_fn("visual")(
        old_log_prob=old, log_prob=now, advantages=advantages, response_mask=mask.bool(), loss_agg_mode="token-mean",
        config=config, rollout_is_weights=None,
    )  # fmt: skip
    losses.append(float(loss))
print(json.dumps(losses))
