"""Networks with random weights in the sizes of published models, made where they run, and conversations with them.

Sizes are those of `virc/models/shapes`. What those files leave out is below: rotary positions as in the config.json of
Qwen2.5-VL-3B and 7B and of Qwen3-VL-4B and 8B, image settings as in their preprocessor_config.json. The window of
Qwen2.5-VL and its blocks with full attention are the defaults of transformers, which are the published ones.
"""

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image

from virc.models import sizes

NAMES = tuple(f"Qwen/{name}-Instruct" for name in ("Qwen2.5-VL-3B", "Qwen2.5-VL-7B", "Qwen3-VL-4B", "Qwen3-VL-8B"))
ROPE: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    "qwen3_vl": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
}
LONGEST = {"qwen2_5_vl": 128_000, "qwen3_vl": 262_144}
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
IMAGES: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        "patch_size": 14, "min_pixels": 3136, "max_pixels": 12_845_056, "image_mean": CLIP[0], "image_std": CLIP[1],
    },
    "qwen3_vl": {
        "patch_size": 16, "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216},
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    },
}  # fmt: skip
SCALED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "qwen2_5_vl": (
        {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1},
        {"hidden_size": 160, "num_heads": 2, "intermediate_size": 420, "depth": 4, "fullatt_block_indexes": [1, 3]},
    ),
    "qwen3_vl": (
        {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1},
        {"hidden_size": 128, "num_heads": 2, "intermediate_size": 500, "depth": 3, "deepstack_visual_indexes": [0, 1]},
    ),
}
"""The same structure with few layers, for a CPU: heads are as wide, and the blocks of every kind are there."""


def fields(name: str, scaled: bool = False) -> dict[str, Any]:
    """The config.json of a published model, in the nested form.

    Args:
        scaled: in the sizes of `SCALED`.
    """
    file = Path(sizes.__file__).parent / "shapes" / f"{name.replace('/', '--')}.json"
    read: dict[str, Any] = json.loads(file.read_text())
    family, vision = read["model_type"], read["vision_config"]
    plain = {key: value for key, value in read.items() if key not in {"model_type", "vision_config", "torch_dtype"}}
    text = read.get("text_config") or plain
    text = text | {"rope_parameters": ROPE[family], "max_position_embeddings": LONGEST[family]}
    text |= {"bos_token_id": None, "eos_token_id": None}  # of the tokenizer that `backend` gives it
    if scaled:
        few_text, few_vision = SCALED[family]
        text = text | few_text | {"num_hidden_layers": 3, "intermediate_size": 512, "vocab_size": 1024}
        vision = vision | few_vision | {"out_hidden_size": few_text["hidden_size"]}
    tied = read["tie_word_embeddings"]
    return {
        "model_type": family, "tie_word_embeddings": tied, "vision_config": vision,
        "text_config": text | {"tie_word_embeddings": tied, "model_type": f"{family}_text"},
    }  # fmt: skip


def network(fields: dict[str, Any], device: str, dtype: Any, attention: str = "sdpa", **ids: int) -> Any:
    """A network with random weights, which are drawn on its device: nothing of it is on a disk or passes the CPU.

    Weights are wide enough that attention is uneven, so that what is read depends on all that stands before it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    torch.manual_seed(0)
    config: Any = AutoConfig.for_model(**fields, **ids)
    build: Any = AutoModelForImageTextToText.from_config
    with torch.device(device):
        made = build(config, dtype=dtype, attn_implementation=attention).eval()
    with torch.no_grad():
        for weight in (weight for name, weight in made.named_parameters() if name.endswith(("q_proj.weight",))):
            weight.mul_(3)
    return made


def backend(name: str, device: str, dtype: str, scaled: bool = False, attention: str = "sdpa") -> Any:
    """The in-process backend with such a network, and a tokenizer of its own."""
    import torch
    from backends.tiny_factory import SPECIAL, tokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from virc.backends import checkpoint, devices
    from virc.backends.kv_cache import CachedModel
    from virc.backends.local import LocalBackend

    devices.settle(torch.device(device), getattr(torch, dtype))
    content, words = fields(name, scaled), tokenizer()
    of = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    ids = {"image_token_id": of["<|image_pad|>"], "video_token_id": of["<|video_pad|>"]}
    ids |= {f"vision_{end}_token_id": of[f"<|vision_{end}|>"] for end in ("start", "end")}
    made = network(content, device, getattr(torch, dtype), attention, **ids)
    made.generation_config.eos_token_id = of["<|im_end|>"]
    settings = IMAGES[content["model_type"]] | {"merge_size": 2, "temporal_patch_size": 2}
    grid = checkpoint.image_grid(settings, 70_000 if scaled else None)
    processor: Any = Qwen2VLImageProcessorPil
    return LocalBackend(name, words, CachedModel(made, processor.from_dict(settings), grid))


def photograph(file: Path, seed: int = 0, size: tuple[int, int] = (4000, 3000)) -> Path:
    """A JPEG of 12 megapixels, or of another size, that is different everywhere."""
    rng = random.Random(seed)
    small = Image.frombytes("RGB", (160, 120), rng.randbytes(160 * 120 * 3))
    small.resize(size, Image.Resampling.BICUBIC).save(file, quality=90)
    return file


def weight_bytes(name: str, dtype: str) -> int:
    """Bytes of the weights of a published model."""
    shape = sizes.published(name)
    assert shape is not None
    return sum(shape.parameters().values()) * (4 if dtype == "float32" else 2)
