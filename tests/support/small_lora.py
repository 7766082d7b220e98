"""Small LoRA adapters on the model of this package, in the files that PEFT writes."""

import json
from pathlib import Path
from typing import Any

from virc.models.registry import EMBEDDED_FOLDER

LAYER = "model.language_model.layers.{}.mlp.down_proj"
PREFIX = "base_model.model."
RANK, ALPHA = 4, 64


def tensors(seed: int = 0, layers: range = range(4)) -> dict[str, Any]:
    """Random factors for one matrix of every layer, large enough that what is said changes."""
    import torch

    drawn = torch.Generator().manual_seed(seed)
    found: dict[str, Any] = {}
    for layer in layers:
        name = PREFIX + LAYER.format(layer)
        found[f"{name}.lora_A.weight"] = torch.randn(RANK, 384, generator=drawn) / 384**0.5
        found[f"{name}.lora_B.weight"] = torch.randn(128, RANK, generator=drawn) / 16
    return found


def write(folder: Path, weights: dict[str, Any] | None = None, **settings: object) -> Path:
    """An adapter folder; None: the weights of `tensors()`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors() if weights is None else weights, folder / "adapter_model.safetensors")
    describe(folder, **settings)
    return folder


def describe(folder: Path, **settings: object) -> Path:
    """The settings alone, in the words of PEFT."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {
        "peft_type": "LORA", "base_model_name_or_path": str(EMBEDDED_FOLDER), "r": RANK, "lora_alpha": ALPHA,
        "target_modules": ["down_proj"], "use_dora": False, "use_rslora": False, "alpha_pattern": {},
        "layer_replication": None, "init_lora_weights": True, "modules_to_save": None, **settings,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(words))
    return folder
