"""Run in the engine's environment: bytes that two steps of training an adapter add to what stays between them.

held_by_adapter.py CONFIG CHECKPOINTING; 512 tokens, 1,024 patches; prints one JSON object.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from held import Held
from llamafactory.model.model_utils.checkpointing import _gradient_checkpointing_enable  # type: ignore[import]
from peft import LoraConfig, get_peft_model  # type: ignore[import]
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from virc.engines.llamafactory.start import keep_gradients_out

TOKENS, SIDE = 512, 32
ATEN = torch.ops.aten


class Uncomputed(Held):
    """Matrix products have their size and no content: a CPU that emulates bfloat16 would take 20 minutes for them."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (ATEN.mm.default, ATEN.addmm.default):
            left, right = args[-2:]
            func, args, kwargs = ATEN.new_zeros.default, (left, (left.shape[0], right.shape[1])), {}
        return super().__torch_dispatch__(func, types, args, kwargs)


def adapted(config: dict[str, Any], gradient_checkpointing: bool) -> Any:
    """The model with an adapter as LLaMA-Factory makes it."""
    model = Qwen2_5_VLForConditionalGeneration._from_config(
        Qwen2_5_VLConfig.from_dict(config), attn_implementation="sdpa", dtype=torch.bfloat16
    )
    model.config.text_config.use_cache = False
    model.train()
    if gradient_checkpointing:
        model.gradient_checkpointing_enable = MethodType(_gradient_checkpointing_enable, model)
        model.gradient_checkpointing_enable({"use_reentrant": True})
    layers = r".*language_model.*(q|k|v|o|gate|up|down)_proj"
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=layers))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    keep_gradients_out(model)
    return model


def step(model: Any, image: int) -> None:
    """One micro-batch: a padded row with one image."""
    ids = torch.ones(1, TOKENS, dtype=torch.long)
    ids[:, : SIDE * SIDE // 4] = image
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(
            input_ids=ids, labels=ids, position_ids=torch.zeros(3, 1, TOKENS, dtype=torch.long),
            attention_mask=torch.ones(1, 1, TOKENS, TOKENS, dtype=torch.bool),
            pixel_values=torch.ones(SIDE * SIDE, 1176), image_grid_thw=torch.tensor([[1, SIDE, SIDE]]),
        )  # fmt: skip
        loss = out.loss
        del out
    loss.backward()


def main() -> None:
    """Print what was counted."""
    config = json.loads(Path(sys.argv[1]).read_text())
    model = adapted(config, bool(int(sys.argv[2])))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    with Uncomputed(model) as held:
        step(model, config["image_token_id"])
        optimizer.step()
        held.from_here()
        step(model, config["image_token_id"])
        optimizer.step()
    count = sum(parameter.numel() for parameter in trained)
    print(json.dumps({"trained": count, "added": held.most - held.now}))


main()
