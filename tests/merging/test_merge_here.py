"""The merge of an adapter in this process: weights, ties and dtype of what is written, in the default suite."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support import small_lora
from support.disk_steps import first, recorded
from support.small_lora import LAYER, PREFIX, RANK, tensors

from virc.backends import checkpoint
from virc.merging.build import copy_weights
from virc.merging.source import MergeSource
from virc.models.provenance import Origin
from virc.models.registry import EMBEDDED_FOLDER

pytestmark = pytest.mark.integration  # imports torch

EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"


def merged(tmp_path: Path, *words: Any, **settings: Any) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """How many numbers were written, and the weights before and after, by their names."""
    from virc.backends import local
    from virc.engines.merge import adapter

    folder = tmp_path / "merged"
    folder.mkdir()
    lora = small_lora.write(tmp_path / "lora", *words, **settings)
    count = adapter.merge([str(EMBEDDED_FOLDER), str(lora), str(folder)])
    before, after = (dict(local.read_network(each, "auto").state_dict()) for each in (EMBEDDED_FOLDER, folder))
    return count, before, after


def test_each_adapted_weight_gets_its_scaled_product_once_and_keeps_its_dtype(tmp_path: Path) -> None:
    import torch

    count, before, after = merged(tmp_path, lora_alpha=1)
    assert count == sum(weight.numel() for name, weight in before.items() if name != HEAD)
    drawn = tensors()
    named = {LAYER.format(layer) + ".weight" for layer in range(4)}
    assert {name for name in before if not torch.equal(before[name], after[name])} == named
    for layer in range(4):
        name, key = LAYER.format(layer) + ".weight", PREFIX + LAYER.format(layer)
        product = drawn[f"{key}.lora_B.weight"] @ drawn[f"{key}.lora_A.weight"] / RANK
        torch.testing.assert_close(after[name], (before[name].float() + product).bfloat16())
    assert {weight.dtype for weight in after.values()} == {weight.dtype for weight in before.values()}


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors are those of Linux")
def test_weights_are_safe_on_the_disk_before_their_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = recorded(monkeypatch)
    merged(tmp_path)
    (file,) = (tmp_path / "merged").glob("*.safetensors")
    assert steps[first(steps, "fsync", file)].content == file.read_bytes()


def test_of_weights_in_several_files_all_are_copied(tmp_path: Path) -> None:
    from virc.backends import local

    saved = tmp_path / "checkpoint-8"
    shutil.copytree(EMBEDDED_FOLDER, saved, ignore=shutil.ignore_patterns("*.safetensors"))
    local.read_network(EMBEDDED_FOLDER, "auto").save_pretrained(saved, max_shard_size="2MB")
    (saved / "optimizer.safetensors").write_bytes(b"")  # of the trainer
    (to := tmp_path / "merged").mkdir()
    source = MergeSource(folder=saved, texts=saved, name="a", origin=Origin(kind="model", source="a@8"))
    assert copy_weights(source, to) == checkpoint.parameters(EMBEDDED_FOLDER)
    shards = {file.name: file.read_bytes() for file in saved.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert {file.name: file.read_bytes() for file in to.glob("*.safetensors")} == shards


def test_an_adapter_that_parts_tied_weights_unties_them_in_the_config(tmp_path: Path) -> None:
    import torch

    from virc.backends import local

    embedding = local.read_network(EMBEDDED_FOLDER, "auto").state_dict()[EMBEDDING]
    _, _, after = merged(tmp_path, {f"{PREFIX}{HEAD}": 2 * embedding.float()})
    assert torch.equal(after[HEAD], 2 * embedding)
    assert torch.equal(after[EMBEDDING], embedding)
    assert json.loads((tmp_path / "merged" / "config.json").read_bytes())["tie_word_embeddings"] is False
