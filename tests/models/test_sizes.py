"""Sizes of published models, held against figures of their own cards, and memory that follows from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from virc.models import memory, sizes

BASE = "Qwen/Qwen2.5-VL-7B-Instruct"


def config(folder: Path, **changes: Any) -> Path:
    """A folder with the sizes of a published base, changed."""
    (file,) = (sizes.published.__globals__["_FOLDER"]).glob("Qwen--Qwen2.5-VL-7B-Instruct.json")
    left_out = ("dtype", "torch_dtype", "tie_word_embeddings")
    known = {key: value for key, value in json.loads(file.read_text()).items() if key not in left_out}
    (folder / "config.json").write_text(json.dumps({**known, **changes}))
    return folder


@pytest.mark.parametrize(
    ("fields", "width"),
    [
        ({"dtype": "float32"}, 4),
        ({"torch_dtype": "float32"}, 4),
        ({"dtype": "bfloat16"}, 2),
        ({"torch_dtype": "float16"}, 2),
        ({}, 2),
    ],
)
def test_a_number_of_the_files_has_the_bytes_of_its_type(tmp_path: Path, fields: dict[str, str], width: int) -> None:
    assert sizes.of_folder(config(tmp_path, **fields)).weight_bytes == width


TIED = {"tie_word_embeddings": True}


@pytest.mark.parametrize(
    ("fields", "tied"),
    [
        ({}, False),
        (TIED, True),
        ({"text_config": TIED}, True),
        ({"tie_word_embeddings": False, "text_config": TIED}, False),
    ],
)
def test_tied_embeddings_are_counted_once(tmp_path: Path, fields: dict[str, Any], tied: bool) -> None:
    shape = sizes.of_folder(config(tmp_path, **fields))
    assert (shape.tied, "lm_head" in {linear.name for linear in shape.linears()}) == (tied, not tied)


@pytest.mark.parametrize(
    ("name", "billions", "layers", "kv", "tied"),
    [
        (BASE, 8.29, 28, 4 * 128, False),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3.75, 36, 2 * 128, True),
        ("Qwen/Qwen2-VL-7B-Instruct", 8.29, 28, 4 * 128, False),
        ("Qwen/Qwen2-VL-2B-Instruct", 2.21, 28, 2 * 128, True),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.77, 36, 8 * 128, False),
        ("Qwen/Qwen3-VL-4B-Instruct", 4.44, 36, 8 * 128, True),
    ],
)
def test_sizes_are_those_of_the_models_card(name: str, billions: float, layers: int, kv: int, tied: bool) -> None:
    shape = sizes.published(name)
    assert shape
    assert sum(shape.parameters().values()) / 1e9 == pytest.approx(billions, abs=0.006)
    assert (shape.text.num_hidden_layers, shape.text.keys, shape.tied, shape.weight_bytes) == (layers, kv, tied, 2)


def test_a_model_of_nobody_has_no_published_size() -> None:
    assert sizes.published("Qwen/Qwen2.5-VL-7B") is None


def test_a_conversation_takes_its_keys_and_values_twice_over_all_layers() -> None:
    shape = sizes.published(BASE)
    assert shape
    parts = {each.name: each.size for each in memory.parts(shape, 2, 32_768, 16_384)}
    assert parts["keys and values"] == 57_344 * 32_768  # 1.75 GiB
    assert parts["weights"] == pytest.approx(16.58e9, rel=1e-3)
    wide = {each.name: each.size for each in memory.parts(shape, 4, 32_768, 16_384)}
    assert wide["keys and values"] == 2 * parts["keys and values"]


def test_the_memory_of_a_model_is_the_sum_of_its_parts() -> None:
    found = memory.of_model(BASE, "cuda:1")
    assert found.gib * 2**30 == pytest.approx(sum(each.size for each in found.parts))
    assert (found.width, found.tokens) == (2, 32_768)
    assert 17 < found.gib < 32
    assert memory.of_model(BASE, None).gib == pytest.approx(found.gib - 0.5)  # no context of CUDA
