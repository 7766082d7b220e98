"""Runs in LLaMA-Factory's environment: what `start` mends for preferences, shown on one batch of drawn rows.

`python preferences_child.py ENGINE_YAML` takes the file of a planned run of KTO, and prints one JSON object.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from llamafactory.data import KTODataCollatorWithPadding, get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.kto.trainer import CustomKTOTrainer

from virc.engines.llamafactory.preferences import start


def main() -> dict[str, Any]:
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(
        yaml.safe_load(Path(sys.argv[1]).read_text())
    )
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="kto", **module)["train_dataset"]
    model = load_model(module["tokenizer"], model_args, finetuning_args, True).float()
    batch = KTODataCollatorWithPadding(template=template, model=model, label_pad_token_id=-100, **module)(
        [rows[at] for at in range(2)]
    )
    trainer = SimpleNamespace(accelerator=SimpleNamespace(unwrap_model=lambda model: model))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")}
    with torch.no_grad():
        placed = model(**inputs, position_ids=batch["position_ids"]).logits
        as_published, *_ = CustomKTOTrainer.forward(trainer, model, batch)
        start.give_positions(CustomKTOTrainer)
        ours, *_ = CustomKTOTrainer.forward(trainer, model, batch)
        of_kl, *_ = CustomKTOTrainer.forward(trainer, model, batch, prefix="kl_")
    real = batch["attention_mask"].bool()
    return {
        "ours": float((ours - placed)[real].abs().max()),
        "as published": float((as_published - placed)[real].abs().max()),
        "kl": list(of_kl.shape[:2]) == list(batch["kl_input_ids"].shape),
    }


if __name__ == "__main__":
    print(json.dumps(main()))
