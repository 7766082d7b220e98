"""Runs in the engine's interpreter: digests of the pixels that reach the processor in LLaMA-Factory, row by row.

Takes the file of a planned run's settings; its own data set and collator prepare the rows.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from llamafactory.data import SFTDataCollatorWith4DAttentionMask as Collator  # type: ignore[import-not-found]
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args  # type: ignore[import-not-found]
from llamafactory.model import load_tokenizer  # type: ignore[import-not-found]


def main(settings: Path) -> list[list[Any]]:
    model_args, data_args, training_args, _, _ = get_train_args(yaml.safe_load(settings.read_text()))
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)["train_dataset"]
    collate = Collator(template=template, model=None, label_pad_token_id=-100, **loaded)
    kind, found = type(loaded["processor"].image_processor), list[list[Any]]()
    process = kind.__call__

    def processed(self: Any, images: Any, *args: Any, **named: Any) -> Any:
        found.extend([*each.size, hashlib.sha256(each.tobytes()).hexdigest()] for each in images)
        return process(self, images, *args, **named)

    kind.__call__ = processed
    for row in rows:
        collate([dict(row)])
    return found


print(json.dumps(main(Path(sys.argv[1]))))
