"""Runs in the engine's interpreter: the rows of each batch as verl's own trainer draws them, by their numbers.

`order_child.py SETTINGS`: it prints those of two epochs, and those of the first after it goes on from its first batch.
"""

import json
import sys
from pathlib import Path
from typing import Any

from verl.utils import hf_processor, hf_tokenizer

from virc.engines.verl import config as verl_config
from virc.engines.verl.trainer import Trainer


def loader(settings: str) -> Any:
    """The data loader that the trainer makes."""
    trainer = Trainer.__new__(Trainer)
    trainer.config = verl_config.composed(Path(settings))
    trainer.trainer_mode, trainer.parameter_sync_step = "sync", 1
    model = trainer.config.actor_rollout_ref.model.path
    trainer.tokenizer, trainer.processor = hf_tokenizer(model), hf_processor(model)
    trainer._init_dataloader()
    return trainer.train_dataloader


def numbers(batch: Any) -> list[int]:
    return [int(info["index"]) for info in batch["extra_info"]]


first = loader(sys.argv[1])
epochs = [[numbers(batch) for batch in first] for _ in range(2)]
begun, rest = loader(sys.argv[1]), loader(sys.argv[1])
next(iter(begun))
rest.load_state_dict(begun.state_dict())
print(json.dumps({"epochs": epochs, "rest": [numbers(batch) for batch in rest]}))
