"""Sizes of published models, held against figures of their own cards, and memory that follows from them."""

import msgspec
import pytest

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


def small(family: sizes.Family, tied: bool = False, /, **text: int) -> sizes.Shape:
    return sizes.Shape(family, msgspec.structs.replace(TEXT, **text), VISION, tied, 2)


@pytest.mark.parametrize(
    ("family", "vision"),
    [
        # patches 24 x 4; of 3 blocks qkv 4 x 12 + 12, proj 4 x 4 + 4; a LayerNorm, 2 x 2 x 4, or RMSNorm, 2 x 4
        ("qwen2_vl", 96 + 3 * (60 + 20 + (4 * 6 + 6) + (6 * 4 + 4) + 16)),
        ("qwen2_5_vl", 96 + 3 * (60 + 20 + 2 * (4 * 6 + 6) + (6 * 4 + 4) + 8)),
        # a bias of patches, 2304 places, and 3 mergers of earlier blocks, each with a norm of all 16 numbers
        ("qwen3_vl", 96 + 4 + 4 * 2304 + 3 * (60 + 20 + 30 + 28 + 16) + 3 * ((16 * 16 + 16) + (16 * 8 + 8) + 2 * 16)),
    ],
)
def test_parameters_of_each_part_by_hand(family: sizes.Family, vision: int) -> None:
    """The merger: 16 x 16 + 16, 16 x 8 + 8, and its norm. A layer of text: q, k, v, o, gate, up, down, two norms."""
    found, own = small(family).parameters(), family == "qwen3_vl"
    assert found["vision"] == vision
    assert found["projector"] == 272 + 136 + 4 * (1 if family == "qwen2_5_vl" else 2)
    biases, norms = (0, 2 * 8 + 2 * 4) if own else (8 + 4 + 4, 2 * 8)
    layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16 + biases + norms
    assert found["language"] == 2 * 100 * 8 + 2 * layer + 8
    assert small(family, True).parameters()["language"] == 100 * 8 + 2 * layer + 8


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
