"""Runs in the engine's interpreter: our agent loop on scripted replies, and what verl makes of the rollout.

`loop_child.py CASES.json MODEL`: of each case the row, or the file of rows and its place there, the arguments of the
loop, its class if it is another, and the ids of each reply as sampled.
"""

import asyncio
import hashlib
import json
import pkgutil
import sys
import types
from functools import cache
from pathlib import Path

import torch
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, DictConfigWrap
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from virc.engines.verl.config import default


class Scripted:
    """A server that says what it was told to, and keeps what it was asked."""

    def __init__(self, replies):
        self._replies, self.asked = replies, []

    async def generate(self, *, prompt_ids, sampling_params, image_data, **_):
        sizes = [image.size for image in image_data]
        self.asked.append({"ids": list(prompt_ids), "images": sizes, "most": sampling_params["max_tokens"]})
        ids = self._replies[len(self.asked) - 1]
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields={"global_steps": 3})


@cache
def read(file):
    """The rows of a file by verl's own data set."""
    return RLHFDataset(file, model.tokenizer, config.data, model.processor)


def made(case):
    """What verl gets of one rollout, and what it makes of its images."""
    config.actor_rollout_ref.rollout.response_length = case["room"]
    server = Scripted(case["replies"])

    async def rollout():
        loop = pkgutil.resolve_name(case.get("class", "virc.engines.verl.agent:VircLoop"))(
            trainer_config=DictConfigWrap(config),
            server_manager=server,
            tokenizer=model.tokenizer,
            processor=model.processor,
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
            hf_model_type=model.hf_config.model_type,
            **case["loop"],
        )
        return await loop.run({"temperature": 1.0}, **(case.get("row") or read(case["file"])[case["at"]]))

    output = asyncio.run(rollout())
    worker = types.SimpleNamespace(
        processor=model.processor, tokenizer=model.tokenizer, _get_mm_processor_kwargs=lambda audio: {}
    )
    ids = torch.tensor([output.prompt_ids + output.response_ids])
    inputs = AgentLoopWorker._compute_multi_modal_inputs(worker, output, ids)
    return {
        "asked": server.asked,
        "prompt": output.prompt_ids,
        "response": output.response_ids,
        "mask": output.response_mask,
        "chances": output.response_logprobs,
        "grids": inputs["image_grid_thw"].tolist(),
        "sizes": [image.size for image in output.multi_modal_data["images"]],
        "pixels": [hashlib.sha256(image.tobytes()).hexdigest() for image in output.multi_modal_data["images"]],
        "extra": output.extra_fields,
    }


cases = json.loads(Path(sys.argv[1]).read_text())
config = default()
config.actor_rollout_ref.model.path = sys.argv[2]
config.actor_rollout_ref.model.override_config = {"attn_implementation": "sdpa"}
config.actor_rollout_ref.rollout.name = "virc"
config.actor_rollout_ref.rollout.prompt_length = 4096
model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
print(json.dumps({name: made(case) for name, case in cases.items()}))
