"""Sizes of published models, held against figures of their own cards, and memory that follows from them."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from virc.models import sizes
from virc.stages.sft import Lora

BASE = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.mark.parametrize(
    ("name", "parameters", "layers", "kv", "tied"),
    [
        (BASE, 8_292_166_656, 28, 4 * 128, False),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976, 36, 2 * 128, True),
        ("Qwen/Qwen2-VL-7B-Instruct", 8_291_375_616, 28, 4 * 128, False),
        ("Qwen/Qwen2-VL-2B-Instruct", 2_208_985_600, 28, 2 * 128, True),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696, 36, 8 * 128, False),
        ("Qwen/Qwen3-VL-4B-Instruct", 4_437_815_808, 36, 8 * 128, True),
    ],
)
def test_sizes_are_those_of_the_published_files(name: str, parameters: int, layers: int, kv: int, tied: bool) -> None:
    """The numbers of parameters are those that the hub counts in their safetensors files."""
    shape = sizes.published(name)
    assert shape
    assert sum(shape.parameters().values()) == parameters
    assert (shape.text.num_hidden_layers, shape.text.keys, shape.tied, shape.weight_bytes) == (layers, kv, tied, 2)


TEXT = sizes.Text(
    vocab_size=100, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1,
)  # fmt: skip
VISION = sizes.Vision(hidden_size=4, depth=3, intermediate_size=6, out_hidden_size=8, patch_size=2)


def small(family: sizes.Known, tied: bool = False, /, **text: int) -> sizes.Shape:
    return sizes.Shape(family, msgspec.structs.replace(TEXT, **text), VISION, tied, 2)


def test_what_is_trained_is_all_that_is_not_frozen_or_its_adapters() -> None:
    shape = small("qwen2_5_vl")
    whole = shape.parameters()
    assert shape.trained(None, ("vision",)) == {**whole, "vision": 0}
    # 4 x (inputs + outputs), of 2 layers: q 8 + 8, k and v 8 + 4; of the tower's 3 blocks qkv 4 + 12
    queries = Lora(rank=4, targets=("q_proj", "k_proj", "v_proj"))
    assert shape.trained(queries, ()) == {"vision": 0, "projector": 0, "language": 2 * 4 * (16 + 12 + 12)}
    assert shape.trained(Lora(rank=4, targets=("qkv",)), ())["vision"] == 3 * 4 * 16
    assert sum(shape.trained(Lora(rank=4, targets=("qkv",)), ("vision",)).values()) == 0
    layers = 16 + 12 + 12 + 16 + 3 * 24
    every = {"vision": 3 * 4 * (16 + 8 + 3 * 10), "projector": 0, "language": 2 * 4 * layers}
    assert shape.trained(Lora(rank=4, targets=("all",)), ()) == every
    assert shape.trained(Lora(rank=4, targets=("all",)), ("vision", "projector")) == {**every, "vision": 0}
    merger = 4 * (16 + 16 + 16 + 8)
    assert shape.trained(Lora(rank=4, targets=("all",)), (), never_adapted=()) == {**every, "projector": merger}
    assert shape.adapter_inputs(queries, ()) == 3 * 8
    assert shape.adapter_inputs(Lora(targets=("all",)), ()) == 6 * 8 + 16
    assert shape.adapter_inputs(queries, ("language",)) == 0


LAYERS = "model.language_model.layers"
EXPERTS = {f"{LAYERS}.1.mlp.experts.gate_up_proj": (5, 8, 8), f"{LAYERS}.1.mlp.experts.down_proj": (5, 8, 4)}
OF_KINDS = [
    # a layer for drafts, and experts of which a token passes two and one that all pass
    ("qwen3_5_moe", {"moe_intermediate_size": 4, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 6},
     EXPERTS | {"mtp.fc.weight": (8, 16)}, 480, 0, 480 - 2 * 96, 14),
    ("glm4v", {"intermediate_size": 16}, {f"{LAYERS}.2.mlp.down_proj.weight": (8, 16)}, 0, 0, 0, 16),  # for drafts too
    ("internvl", {"intermediate_size": 16}, {"language_model.lm_head.weight": (10, 8)}, 80, 0, 0, 16),
    ("gemma4", {"intermediate_size": 16, "num_kv_shared_layers": 1},  # the second layer has the keys of the first
     {f"{LAYERS}.{at}.self_attn.k_proj.weight": (4, 8) for at in range(2)}, 32, 4 * (8 + 4), 0, 16),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "weights", "language", "adapted", "idle", "inner"), OF_KINDS)
def test_what_no_engine_trains_is_not_counted(
    kind: str, text: dict[str, int], weights: dict[str, tuple[int, ...]], language: int, adapted: int, idle: int,
    inner: int, tmp_path: Path,
) -> None:  # fmt: skip
    sides = {"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {"text_config": sides | {"num_key_value_heads": 1} | text, "vision_config": {"hidden_size": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    weights = {f"{LAYERS}.0.self_attn.q_proj.weight": (8, 8), **weights}
    save_file({name: np.ones(size) for name, size in weights.items()}, tmp_path / "model.safetensors")
    found = sizes.of_folder(tmp_path)
    assert found.parameters()["language"] == 64 + language
    assert found.trained(Lora(rank=4), ())["language"] == 4 * (8 + 8) + adapted
    assert (found.idle, found.text.inner, found.tied) == (idle, inner, kind != "internvl")


def test_sizes_that_a_config_leaves_out_are_those_of_its_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = {"hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34}
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(sizes, "_of_weights", lambda shape, folder: shape)
    found = sizes.of_folder(tmp_path).text
    assert (found.vocab_size, found.queries, found.keys) == (262_208, 2048, 1024)
