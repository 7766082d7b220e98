"""An adapter on a model with experts, recurrent layers or other names: merged, it is what both are in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
from backends import tiny_factory
from support import small_lora, workspaces

from virc.backends import local
from virc.engines.merge import adapter as merging

pytestmark = pytest.mark.integration

ADAPTED = ("q_proj.weight", "q_proj.linear.weight", "in_proj_qkv.weight")
"""Of full attention, of Gemma 4's tower, and of the layers with a recurrent state."""


def logits(network: Any) -> Any:
    import torch

    with torch.inference_mode():
        return network(input_ids=torch.arange(20, 60)[None]).logits


@pytest.mark.parametrize("family", ["qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "gemma3", "gemma4"])
def test_a_merged_model_says_what_base_and_adapter_say(tmp_path: Path, family: str) -> None:
    import torch

    base = tiny_factory.build(tmp_path / "base", family)
    network = local.read_network(base, "auto")
    factors: dict[str, Any] = {}
    for name, weight in network.named_parameters():
        if name.endswith(ADAPTED):
            key = small_lora.PREFIX + name.removesuffix(".weight")
            factors[f"{key}.lora_A.weight"] = torch.randn(small_lora.RANK, weight.shape[1]) / 10
            factors[f"{key}.lora_B.weight"] = torch.randn(len(weight), small_lora.RANK) / 10
    assert len(factors) == (12 if family.startswith("gemma") else 8)  # whose vision tower has such layers, too
    adapter = small_lora.write(tmp_path / "lora", factors, base_model_name_or_path=str(base))
    (tmp_path / "merged").mkdir()
    merging.merge([str(base), str(adapter), str(tmp_path / "merged")])
    assert workspaces.shapes(tmp_path / "merged") == workspaces.shapes(base)
    merged = logits(local.read_network(tmp_path / "merged", "auto"))
    assert json.loads((tmp_path / "merged" / "config.json").read_bytes())["model_type"] == family
    assert torch.equal(merged, logits(local.load(base, "cpu", adapter=adapter).cached.network))
    assert (merged - logits(network)).abs().max() > 0.1
