"""Runs in the engine's interpreter: verl's trainer checks actors with the embedded model at its first step.

Each actor loses or moves pictures in its own way, as `WAYS` say; for each it prints the sentence that ends its run, or
null, and how often it was asked; and under `seeds` the sentences of honest runs whose pictures are drawn with as many
seeds, for a sampler of either precision. `sight_child.py MODEL SEEDS`. The queue and the trainer's class are verl's.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import ray
import torch
import transfer_queue
from omegaconf import OmegaConf
from PIL import Image
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from transformers import AutoModelForImageTextToText, AutoProcessor
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from virc.core.errors import VircError
from virc.engines.verl.trainer import Trainer
from virc.reasoning.protocol import Protocol
from virc.reasoning.trace import Message, Trace

Inputs = dict[str, Any]
WAYS: dict[str, Callable[[Inputs], Inputs]] = {
    "honest": lambda inputs: inputs,
    "missing": lambda inputs: {},
    "blank": lambda inputs: {**inputs, "pixel_values": torch.zeros_like(inputs["pixel_values"])},
    "first alone": lambda inputs: {**inputs, "pixel_values": inputs["pixel_values"][:64].repeat(2, 1)},
    "exchanged": lambda inputs: {**inputs, "pixel_values": inputs["pixel_values"].roll(64, 0)},
}
KEYS = ["text_0_0", "pictures_0_0"]


class Actor:
    """The embedded model in place of verl's processes, with float64 so that only pictures move its numbers."""

    def __init__(self, folder: str, dtype: torch.dtype = torch.float64) -> None:
        automatic: Any = AutoModelForImageTextToText
        self.model, self.folder = automatic.from_pretrained(folder, dtype=dtype).eval(), folder
        self.way, self.asked, self.world_size = WAYS["honest"], 0, 1

    @torch.no_grad()
    def chances(self, ids: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """The log-probability of each next id, as long as the ids."""
        given = {key: inputs[key] for key in ("pixel_values", "image_grid_thw") if key in inputs}
        if "pixel_values" in given:
            given["pixel_values"] = given["pixel_values"].to(self.model.dtype)
            given["mm_token_type_ids"] = (ids[None] == self.model.config.image_token_id).int()
        logits = self.model(input_ids=ids[None], **given).logits[0].double().log_softmax(-1)
        return torch.cat([logits[:-1].gather(-1, ids[1:, None])[:, 0], torch.zeros(1)]).float()

    def compute_log_prob(self, batch: KVBatchMeta) -> KVBatchMeta:
        self.asked += 1
        names = ["input_ids", "multi_modal_inputs"]
        data = transfer_queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=names)
        inputs = [getattr(each, "data", each) for each in data["multi_modal_inputs"]]
        found = [
            self.chances(ids, self.way(given) if "pixel_values" in given else given)
            for ids, given in zip(data["input_ids"].unbind(), inputs, strict=True)
        ]
        put(batch.keys, log_probs=nested(found))
        return batch


def nested(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def put(keys: list[str], **fields: Any) -> None:
    transfer_queue.kv_batch_put(keys=keys, partition_id="train", fields=TensorDict(fields, len(keys)))


def rollout(images: int) -> dict[str, Any]:
    said = [Message("user", "?", tuple(range(images))), Message("assistant", "so")]
    trace = Trace(
        "?", Protocol(system="", first="{question}", image_line="", after_image="", after_scale=""), [], said, []
    )
    return {"rollout": msgspec.json.encode(trace).decode()}


def queued(actor: Actor, processor: Any, seed: int, dtype: str = "float32", blind: bool = False) -> KVBatchMeta:
    """A rollout without pictures, and one with two, which a sampler of a precision drew, who saw none where `blind`."""
    levels = torch.randint(256, (2, 112, 112, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pictures = [Image.fromarray(each.numpy()) for each in levels]
    made = processor.image_processor(images=pictures, return_tensors="pt")
    inputs = {"pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"]}
    pad = actor.model.config.image_token_id
    pads = [pad] * int(made["image_grid_thw"][0].prod() // 4)
    start, end = (processor.tokenizer.convert_tokens_to_ids(f"<|vision_{name}|>") for name in ("start", "end"))
    text, reply = processor.tokenizer("Which?").input_ids, processor.tokenizer("the second one").input_ids
    prompts = [text, [start, *pads, end, start, *pads, end, *text]]
    ids = [torch.tensor(prompt + reply) for prompt in prompts]
    drawn: list[Inputs] = [{}, {} if blind else inputs]
    sampler = actor if dtype == "float32" else Actor(actor.folder, torch.bfloat16)
    chances = [sampler.chances(*each)[-len(reply) - 1 : -1] for each in zip(ids, drawn, strict=True)]
    put(
        KEYS,
        input_ids=nested(ids),
        multi_modal_inputs=NonTensorStack({}, inputs),
        response_mask=nested([torch.ones(len(reply), dtype=torch.long) for _ in KEYS]),
        rollout_log_probs=nested(chances),
        extra_fields=NonTensorStack(rollout(0), rollout(2)),
    )
    return KVBatchMeta(partition_id="train", keys=KEYS, tags=[{}, {}])


def checked(actor: Actor, batch: KVBatchMeta, way: str, dtype: str = "float32") -> tuple[str | None, int]:
    trainer = Trainer.__new__(Trainer)
    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "dtype": dtype, "log_prob_micro_batch_size_per_gpu": 1}
    reward = {"custom_reward_function": {}}
    trainer.config = OmegaConf.create({"actor_rollout_ref": {"rollout": settings}, "reward": reward})
    trainer.replay_buffer = SimpleNamespace(batch=batch)
    trainer.actor_rollout_wg, actor.way, actor.asked = actor, WAYS[way], 0
    try:
        for _ in range(2):  # steps, of which the first is checked
            trainer.on_sample_end()
    except VircError as error:
        return error.message, actor.asked
    return None, actor.asked


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
transfer_queue.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))
PPOTrainerSync.on_sample_end = lambda trainer: None
model = Actor(sys.argv[1])
reads = AutoProcessor.from_pretrained(sys.argv[1])
step = queued(model, reads, 0)
found: dict[str, Any] = {way: checked(model, step, way) for way in WAYS}
for dtype in ("float32", "bfloat16"):
    unseen = queued(model, reads, 0, dtype, blind=True)
    found[f"unseen by a sampler in {dtype}"] = checked(model, unseen, "honest", dtype)
found["seeds"] = {
    dtype: [checked(model, queued(model, reads, seed, dtype), "honest", dtype)[0] for seed in range(int(sys.argv[2]))]
    for dtype in ("float32", "bfloat16")
}
transfer_queue.close()
ray.shutdown()
print(json.dumps(found))
