"""Runs in the engine's interpreter: what a checkpoint of one process has changed of a model, part by part.

`weights_child.py MODEL CHECKPOINT`: of each part the largest change and how many weights are bit-equal.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from virc.families.parts import PARTS, part_of

model, checkpoint = sys.argv[1], Path(sys.argv[2])
network = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32)
before, kind = dict(network.named_parameters()), network.config.model_type
shard = torch.load(checkpoint / "actor" / "model_world_size_1_rank_0.pt", weights_only=False)
after = {name: getattr(value, "_local_tensor", value) for name, value in shard.items()}
parts = {}
for part in PARTS:
    pairs = [(weight.detach(), after[name]) for name, weight in before.items() if part_of(name, kind) == part]
    parts[part] = {
        "weights": len(pairs),
        "equal": sum(bool(torch.equal(one, other)) for one, other in pairs),
        "change": max(float((one - other).abs().max()) for one, other in pairs),
    }
print(json.dumps({"parts": parts}))
