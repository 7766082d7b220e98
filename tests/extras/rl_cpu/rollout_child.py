"""Runs in the engine's interpreter: replies of the rollout server, drawn together and of several samplings.

`rollout_child.py MODEL PICTURE REQUESTS.json`: of each request the ids of its prompt, how often its picture stands in
it (0 or 1), and verl's sampling parameters. Prints ids, log-probabilities, and those of one pass of the model over all
ids; the ids once more, of requests that come in another order and at other times; and how far probabilities differ
between rollouts and a model that has made one more step of the optimizer.
"""

import asyncio
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from verl.workers.config import HFModelConfig  # noqa: F401 -- what hydra makes of the model's settings

from virc.engines.verl.config import default
from virc_extras.rl_cpu.rollout import Server

model, picture, requests = (
    sys.argv[1],
    Image.open(sys.argv[2]).convert("RGB"),
    json.loads(Path(sys.argv[3]).read_text()),
)
config = default().actor_rollout_ref
config.model.path = model
config.model.override_config = {"attn_implementation": "sdpa"}
config.rollout.update(name="virc", dtype="float32", prompt_length=512, response_length=256)
server = Server(config.rollout, config.model)
counts = []
draw = server._draw


def counted(batch):
    counts.append(len(batch))
    return draw(batch)


server._draw = counted


async def reply_to(number):
    each = requests[number]
    return await server.generate(each["ids"], dict(each["sampling"]), str(number), [picture] * each["images"])


async def replies():
    return await asyncio.gather(*map(reply_to, range(len(requests))))


async def apart():
    """The replies to requests that come two by two, the last of them first: in other batches."""
    found = {}
    for first in reversed(range(0, len(requests), 2)):
        pair = range(first, min(first + 2, len(requests)))
        found |= zip(pair, await asyncio.gather(*map(reply_to, pair)), strict=True)
    return [found[number] for number in range(len(requests))]


@torch.inference_mode()
def passed(request, reply):
    """Log-probabilities of a reply by one pass over prompt and reply, without a cache or padding."""
    return chances(request, reply).tolist()


def chances(request, reply):
    ids = torch.tensor([request["ids"] + reply.token_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if request["images"]:
        inputs |= server._processor.image_processor(images=[picture], return_tensors="pt")
        inputs["mm_token_type_ids"] = (ids == server._model.config.image_token_id).int()
    logits = server._model(**inputs).logits[0, len(request["ids"]) - 1 : -1]
    temperature = request["sampling"].get("temperature", 1.0) or 1.0
    found = (logits / temperature).log_softmax(-1)
    return found.gather(-1, torch.tensor(reply.token_ids)[:, None])[:, 0]


def one_step_later(request, reply):
    """How far the probabilities of a reply are at most from those after a step that makes it less likely."""
    optimizer = torch.optim.AdamW(server._model.parameters(), lr=1e-4)
    chances(request, reply).mean().backward()
    optimizer.step()
    later = torch.tensor(passed(request, reply)).exp()
    return float((later - torch.tensor(reply.log_probs).exp()).abs().max())


drawn = asyncio.run(replies())
batches, again = list(counts), asyncio.run(apart())
one_pass = [passed(request, reply) for request, reply in zip(requests, drawn, strict=True)]
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
            "batches": batches,
            "batches again": counts[len(batches) :],
            "ids again": [reply.token_ids for reply in again],
            "later": one_step_later(requests[1], drawn[1]),
            "ids": [reply.token_ids for reply in drawn],
            "chances": [reply.log_probs for reply in drawn],
            "passed": one_pass,
            "faults": faults,
        }
    )
)
