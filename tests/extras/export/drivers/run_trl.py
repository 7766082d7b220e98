"""Trains the embedded model for two steps, and has TRL's environments and rewards reply to each row as recorded.

Pictures are told by digests of their pixels.
"""

import json
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig, GRPOTrainer

from virc.models.registry import EMBEDDED_FOLDER

replies, count, *modules = sys.argv[1:]
said = {(module, row): texts for module, row, texts in json.loads(Path(replies).read_bytes())}


def settings(**more):
    return GRPOConfig("out", use_cpu=True, bf16=False, report_to=[], save_strategy="no", **more)


def train(module):
    """Two steps; the pictures in each training forward, and those that the rollouts of each step had."""
    options = {"num_generations": 4, "per_device_train_batch_size": 4, "max_completion_length": 768, "max_steps": 2}
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(EMBEDDED_FOLDER)
    args = settings(logging_steps=1, learning_rate=1e-4, **options)
    trainer = import_module(module).trainer("drawn/problems.jsonl")(model=model, args=args, processing_class=processor)
    seen, shown, generate = [], [], trainer._generate_and_score_completions

    def forward(network, positional, given):
        if network.training and torch.is_grad_enabled():
            pixels = given.get("pixel_values")
            seen.append([0, 0.0] if pixels is None else [len(given["image_grid_thw"]), float(pixels.std())])

    def generated(inputs):
        batch = generate(inputs)
        shown.append(sum(len(each._talk.images) for each in trainer.environments))
        return batch

    model.register_forward_pre_hook(forward, with_kwargs=True)
    trainer._generate_and_score_completions = generated
    trainer.train()
    steps = [each["reward"] for each in trainer.state.log_history if "reward" in each]
    return {"seen": seen, "shown": shown, "checked": trainer._seen, "rewards": steps}


def content(parts):
    if isinstance(parts, str):
        return [parts] if parts else []
    return [
        part["text"] if part["type"] == "text" else sha256(part["image"].convert("RGB").tobytes()).hexdigest()
        for part in parts
    ]


def rollout(given, module, row):
    """The conversation of a row at each of its turns, and its reward."""
    made, chats, terms, errors = given["environment_factory"](), [], {}, []
    prompt = given["train_dataset"][row]["prompt"]
    chat = [{"role": each["role"], "content": content(each["content"])} for each in prompt[:-1]]
    chat.append({"role": "user", "content": content(made.reset(row=row))})
    texts, last = iter([*said[module, row], *["Nothing further."] * 20]), ""
    tokenizer = given["processing_class"].tokenizer
    while not made._talk.over:
        chats.append(list(chat))
        text = next(texts)
        parsed = tokenizer.parse_response(tokenizer(text + "<|im_end|>").input_ids)
        if not parsed.get("tool_calls"):
            last = parsed["content"]
            break
        parts = made.reply(**parsed["tool_calls"][0]["function"]["arguments"])
        chat.append({"role": "assistant", "content": [text]})
        chat.append({"role": "user", "content": content(parts)})
    try:
        completion = [{"role": "assistant", "content": last}]
        (reward,) = given["reward_funcs"][0]([made], [completion], log_metric=terms.__setitem__)
    except Exception as error:
        reward, errors = None, [str(error)]
    return {"module": module, "row": row, "chats": chats, "terms": terms, "reward": reward, "errors": errors}


found = []
for module in modules:
    with patch.object(GRPOTrainer, "__init__", lambda self, model, **given: self.__dict__.update(given=given)):
        processor = AutoProcessor.from_pretrained(EMBEDDED_FOLDER)
        grid = import_module(module).ENVIRONMENT.settings.grid
        size = {"shortest_edge": grid.min_pixels, "longest_edge": grid.max_pixels}
        processor.image_processor.size = size
        made = import_module(module).trainer()(None, settings(), processor)
    found += [rollout(made.given, module, row) for row in range(int(count))]
trained = train("virc_tiny_trl") if "virc_tiny_trl" in modules else None
Path("found.json").write_text(json.dumps(found))
Path("trained.json").write_text(json.dumps(trained))
