"""Runs in the engine's interpreter: replies of the rollout server, drawn together and of several samplings.

`rollout_child.py MODEL PICTURE REQUESTS.json`: of each request the ids of its prompt, how often its picture stands in
it (0 or 1), and verl's sampling parameters. Prints ids, log-probabilities, and those of one pass of the model over all
ids.
"""

import asyncio
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from verl.workers.config import HFModelConfig  # noqa: F401 -- what hydra makes of the model's settings

from virc.engines.verl.config import default
from virc.engines.verl.rollout import Server

model, picture, requests = (
    sys.argv[1],
    Image.open(sys.argv[2]).convert("RGB"),
    json.loads(Path(sys.argv[3]).read_text()),
)
config = default().actor_rollout_ref
config.model.path = model
config.model.override_config = {"attn_implementation": "sdpa"}
config.rollout.update(name="virc", dtype="float32", prompt_length=512, response_length=256)
server = Server(config.rollout, config.model, 0)
counts = []
draw = server._draw


def counted(batch):
    counts.append(len(batch))
    return draw(batch)


server._draw = counted


async def replies():
    return await asyncio.gather(
        *(
            server.generate(each["ids"], dict(each["sampling"]), str(number), [picture] * each["images"])
            for number, each in enumerate(requests)
        )
    )


@torch.inference_mode()
def passed(request, reply):
    """Log-probabilities of a reply by one pass over prompt and reply, without a cache or padding."""
    ids = torch.tensor([request["ids"] + reply.token_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if request["images"]:
        inputs |= server._processor.image_processor(images=[picture], return_tensors="pt")
        inputs["mm_token_type_ids"] = (ids == server._model.config.image_token_id).int()
    logits = server._model(**inputs).logits[0, len(request["ids"]) - 1 : -1]
    temperature = request["sampling"].get("temperature", 1.0) or 1.0
    chances = (logits / temperature).log_softmax(-1)
    return chances.gather(-1, torch.tensor(reply.token_ids)[:, None])[:, 0].tolist()


drawn = asyncio.run(replies())
weights = {name: weight.clone() for name, weight in server._model.state_dict().items()}
faults = []
for change in ({"missing": None}, {"extra": torch.zeros(1)}):
    wrong = dict(weights)
    if "missing" in change:
        del wrong["model.visual.patch_embed.proj.weight"]
    else:
        wrong |= change
    try:
        asyncio.run(server.load(wrong, 1))
    except RuntimeError as error:
        faults.append(str(error))
print(
    json.dumps(
        {
            "batches": counts,
            "ids": [reply.token_ids for reply in drawn],
            "chances": [reply.log_probs for reply in drawn],
            "passed": [passed(request, reply) for request, reply in zip(requests, drawn, strict=True)],
            "faults": faults,
        }
    )
)
