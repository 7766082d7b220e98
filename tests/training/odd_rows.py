"""Rows and bases on which a count of tokens can go wrong."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from stage_rows import base_of_type

COUNT = 70
SIZES = [
    (252, 224), (5, 300), (1, 40), (30, 31), (29, 500), (7000, 35), (33, 6500), (4, 700), (1000, 1000), (641, 359),
    (28, 28), (27, 27), (200, 200), (57, 56), (2000, 1500), (55, 57), (4000, 20), (399, 401), (113, 97), (784, 784),
]  # fmt: skip
WORDS = [
    "Look", "at corner", "\n\n", "\t", "m∠A = 41°", "<think>", "é naïve", "e\u0301", "ﬁ", "数学", "12345", "</answer>",
    '{"name": "crop_image"}', "🙂", "<|im_end|>", "<|endoftext|>", r"\frac{1}{2}", "   ", "don't", "\u00a0", "A\r\nB",
]  # fmt: skip
_TURNED = 0x0112  # EXIF: which side is up


def build(folder: Path) -> None:
    """The dataset `odd` of `COUNT` rows."""
    (folder / "images").mkdir(parents=True)
    names = list(_images(folder))
    chance = random.Random(5)
    rows = [_row(chance, number, names) for number in range(COUNT)]
    (folder / "odd.json").write_text(json.dumps(rows))
    tags = {"role_tag": "role", "content_tag": "content"} | {
        f"{role}_tag": role for role in ("user", "assistant", "system")
    }
    columns = {"messages": "messages", "images": "images"}
    entry = {"file_name": "odd.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"odd": entry}))


def _images(folder: Path) -> Iterator[str]:
    for number, size in enumerate(SIZES):
        name = f"images/{number}.png"
        Image.new(["RGB", "L", "RGBA", "P", "1"][number % 5], size).save(folder / name)
        yield name
    for name, size, side in (("a.jpg", (300, 100), 6), ("b.jpg", (500, 90), 3), ("c.tif", (333, 120), 8)):
        image = Image.new("RGB", size)
        exif = image.getexif()
        exif[_TURNED] = side
        image.save(folder / "images" / name, exif=exif)
        yield f"images/{name}"
    Image.new("RGB", (91, 420)).save(folder / "images" / "d.webp")
    yield "images/d.webp"


def _row(chance: random.Random, number: int, names: list[str]) -> dict[str, Any]:
    messages, shown = [], []
    if number % 3 or number % 9 == 0:
        messages.append({"role": "system", "content": _text(chance, 20) if number % 3 else ""})
    for turn in range(chance.randint(1, 4)):
        count = chance.choice([0, 1, 1, 1, 2]) if turn else 1
        picked = [names[(3 * number + turn + at) % len(names)] for at in range(count)]
        pieces = [_text(chance, chance.randint(0, 30)), *["<image>"] * count, _text(chance, chance.randint(0, 9))]
        chance.shuffle(pieces)
        messages.append({"role": "user", "content": "".join(pieces)})
        messages.append({"role": "assistant", "content": _text(chance, chance.randint(1, 30))})
        shown += picked
    return {"messages": messages, "images": shown}


def _text(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def qwen3(folder: Path) -> Path:
    """A base whose patches are 16 px wide, described in a processor's file of the newer kind."""
    base = base_of_type(folder, "qwen3_vl")
    (base / "preprocessor_config.json").unlink()
    images = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"shortest_edge": 4096, "longest_edge": 200_000},
        "patch_size": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
    }
    processor = {
        "processor_class": "Qwen3VLProcessor",
        "image_processor": images,
        "video_processor": {"video_processor_type": "Qwen3VLVideoProcessor"},
    }
    (base / "processor_config.json").write_text(json.dumps(processor))
    (base / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
    return base


def like_published(folder: Path) -> Path:
    """A base with a tokenizer of the class, normalizer and splitting that the published ones have."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    base = base_of_type(folder, "qwen2_5_vl")
    splitting = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
        r"\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(splitting), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    old = json.loads((base / "tokenizer_config.json").read_text())
    special = old["extra_special_tokens"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    chance = random.Random(1)
    tokenizer.train_from_iterator([_text(chance, 40) for _ in range(50)], trainer)
    tokenizer.save(str(base / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "additional_special_tokens": special, "model_max_length": 131072,
    }  # fmt: skip
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    return base
