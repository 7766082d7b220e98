"""Runs in the engine's interpreter: how far verl's logits of rows without pictures are from those of the plain model.

`text_alone_child.py MODEL [MODULE]`: where a module is named, it is imported, as verl does by `external_lib`. Prints
the largest differences, or what verl ends with: of rows without pictures, and of a row with one.
"""

import importlib
import json
import sys
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from verl.workers.engine.fsdp import transformer_impl

model = AutoModelForImageTextToText.from_pretrained(sys.argv[1], dtype=torch.float32)
pad, vision = model.config.image_token_id, model.config.vision_config
torch.manual_seed(0)
patches = torch.randn(16, vision.in_channels * vision.temporal_patch_size * vision.patch_size**2)
cases: dict[str, dict[str, Any]] = {
    "text": {"input_ids": torch.arange(40, 60)[None].repeat(2, 1)},
    "picture": {
        "input_ids": torch.tensor([[40, 41, *[pad] * 4, 42, 43]]),
        "pixel_values": patches,
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
    },
}


def places(ids: torch.Tensor) -> torch.Tensor:
    """(4, rows, tokens), as verl has them."""
    return torch.arange(ids.shape[1]).repeat(4, len(ids), 1)


with torch.no_grad():
    wanted = {case: model(**given, position_ids=places(given["input_ids"])[1:]).logits for case, given in cases.items()}
    for module in sys.argv[2:]:
        importlib.import_module(module)
    transformer_impl.apply_monkey_patch(model=model, use_remove_padding=False, ulysses_sp_size=1)
    found: dict[str, float | str] = {}
    for case, given in cases.items():
        try:
            ours = model(**given, position_ids=places(given["input_ids"])).logits
            found[case] = float((ours - wanted[case]).abs().max())
        except (AttributeError, TypeError) as error:
            found[case] = str(error)
print(json.dumps(found))
