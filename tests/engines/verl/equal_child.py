"""Runs in the engine's interpreter: groups with equal rewards, as verl's sampler of batches leaves them out.

Also what it makes a batch of while rollouts of such a group are still there.
"""

import json
from typing import Any

import torch
import transfer_queue
from omegaconf import OmegaConf

from virc.core.errors import EngineError
from virc.engines.verl.agent_failures import FRUITLESS, Strict

BATCH = 4
GOOD = ("second", "first", "third", "fourth")
settings = {"filter_groups_metric": "reward", "train_batch_size": BATCH, "gen_batch_size": 1, "poll_interval": 0}
buffer = Strict(
    trainer_mode="sync",
    trainer_config=OmegaConf.create({}),
    max_off_policy_threshold=None,
    max_off_policy_strategy="drop",
    refill_fn=lambda count: None,
    sampler_kwargs=OmegaConf.create(settings),
)


def queued(step: int, equal: int, good: bool = False) -> dict[str, Any]:
    """The queue with groups whose rewards are equal, and with those of which a batch is made."""
    prompts = [*(f"equal{step}.{number}" for number in range(equal)), *(GOOD if good else ())]
    rollouts = {f"{prompt}_0_{number}": {} for prompt in sorted(prompts) for number in (1, 0)}
    of_prompts = {prompt: {"is_prompt": True, "status": "finished", "global_steps": step} for prompt in prompts}
    return {"train": of_prompts | rollouts}


def rewards(keys: list[str], **_: Any) -> dict[str, list[torch.Tensor]]:
    return {"rm_scores": [torch.tensor([0.0 if key.startswith("equal") else float(key[-1])]) for key in keys]}


def sample(step: int, *states: dict[str, Any]) -> list[str]:
    """What verl makes a batch of, where the queue changes with each look into it."""
    looks = iter(states)
    transfer_queue.kv_list = lambda: next(looks)
    keys: list[str] = buffer.sample(step, "train", BATCH)[0].keys
    return keys


transfer_queue.kv_clear, transfer_queue.kv_batch_get = lambda **_: None, rewards  # there is no queue here
kept = sample(1, queued(1, FRUITLESS * BATCH), queued(1, 0, good=True))
try:
    sample(2, *(queued(2, groups) for groups in (FRUITLESS * BATCH - 1, 1, 0, 1)))
    said = None
except EngineError as error:
    said = error.message
print(json.dumps({"said": said, "kept": kept, "with equal ones": sample(3, queued(3, 1, good=True))}))
