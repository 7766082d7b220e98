"""A LoRA adapter is added to its base as its definition says, or refused; never left out in silence."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import small_lora
from support.small_lora import ALPHA, LAYER, PREFIX, RANK, tensors

from virc.backends.local import LocalBackend, load
from virc.core.errors import ConfigError
from virc.models.registry import EMBEDDED_FOLDER

pytestmark = pytest.mark.integration
Weights = dict[str, Any]


def opened(adapter: Path | None = None, base: Path = EMBEDDED_FOLDER) -> LocalBackend:
    return load(base, device="cpu", adapter=adapter)


def weights(backend: LocalBackend) -> Weights:
    return dict(backend.cached.network.state_dict())


def test_every_named_weight_gets_its_scaled_product_and_no_other_changes(tmp_path: Path) -> None:
    import torch

    drawn = tensors()
    before, after = weights(opened()), weights(opened(small_lora.write(tmp_path / "lora")))
    named = {LAYER.format(layer) + ".weight" for layer in range(4)}
    assert {name for name in before if not torch.equal(before[name], after[name])} == named
    for layer in range(4):
        name, key = LAYER.format(layer), PREFIX + LAYER.format(layer)
        product = drawn[f"{key}.lora_B.weight"] @ drawn[f"{key}.lora_A.weight"]
        change = after[f"{name}.weight"] - before[f"{name}.weight"]
        torch.testing.assert_close(change, ALPHA / RANK * product, atol=1e-5, rtol=1e-4)


def one_of_another_layer(drawn: Weights) -> Weights:
    return {key.replace("layers.3.", "layers.400."): value for key, value in drawn.items()}


def without_one_b(drawn: Weights) -> Weights:
    return {key: value for key, value in drawn.items() if "layers.2" not in key or "lora_A" in key}


def of_a_larger_base(drawn: Weights) -> Weights:
    import torch

    shapes = {key: (1, 2) if ".lora_A." in key else (2, 1) for key in drawn}  # the rank stays
    return {
        key: torch.zeros([side * by for side, by in zip(value.shape, shapes[key], strict=True)])
        for key, value in drawn.items()
    }


def nothing(drawn: Weights) -> Weights:
    return {}


WRONG = {
    one_of_another_layer: "which has no model.language_model.layers.400.",
    without_one_b: "is incomplete: it has one factor only for model.language_model.layers.2.",
    of_a_larger_base: "model.language_model.layers.0.mlp.down_proj.weight is of another size",
    nothing: "holds no weights",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_weights_that_are_not_for_this_base_are_refused(tmp_path: Path, change: Callable[[Weights], Weights]) -> None:
    adapter = small_lora.write(tmp_path / "lora", change(tensors()))
    with pytest.raises(ConfigError) as caught:
        opened(adapter)
    assert WRONG[change] in caught.value.message
    assert str(adapter) in caught.value.message


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"use_what_comes_next": True}, "use_what_comes_next"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "alpha_pattern"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights: pissa_niter_4"),
        ({"bias": "all"}, "bias: all"),
        ({"lora_bias": True}, "lora_bias"),
    ],
)
def test_what_is_more_than_a_plain_adapter_is_refused_before_anything_heavy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], named: str
) -> None:
    monkeypatch.setattr("virc.backends.local._load", None)
    with pytest.raises(ConfigError, match="is no plain LoRA adapter") as caught:
        opened(small_lora.write(tmp_path / "lora", **settings))
    assert named in caught.value.message
    assert "merge it into its base" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("lm_head.base_layer.weight", (512, 128)),
        ("model.language_model.embed_tokens.base_layer.weight", (512, 128)),
        ("model.visual.patch_embed.proj.lora_A.weight", (4, 3, 2, 14, 14)),
        ("model.language_model.layers.0.self_attn.q_proj.lora_diag", (4,)),
    ],
)
def test_adapters_of_other_layers_than_matrices_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, shape: tuple[int, ...]
) -> None:
    """PEFT 0.21.2 writes these keys for targets lm_head, embed_tokens, a convolution, and KaSA (`kasa_config`)."""
    import torch

    monkeypatch.setattr("virc.backends.local._load", None)
    adapter = small_lora.write(tmp_path / "lora", {**tensors(), PREFIX + key: torch.zeros(shape)})
    with pytest.raises(ConfigError, match=f"is no plain LoRA adapter: {re.escape(key)}") as caught:
        opened(adapter)
    assert ("base_layer" in key) == ("head or the embeddings, whose weights may be tied" in caught.value.message)


def test_pickled_cut_or_missing_weights_are_refused_unread(tmp_path: Path) -> None:
    adapter = small_lora.write(tmp_path / "lora")
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"adapter_model\.safetensors is no safetensors file or is damaged"):
        opened(adapter)
    file.unlink()
    with pytest.raises(ConfigError, match=r"incomplete: adapter_model\.safetensors is missing"):
        opened(adapter)
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="pickled weights only, and unpickling runs code"):
        opened(adapter)


def test_an_adapter_of_a_model_in_half_precision_is_added_before_it_is_rounded(tmp_path: Path) -> None:
    import torch

    base = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base"))
    adapter = small_lora.write(tmp_path / "lora")
    exact = weights(opened(adapter, base))
    rounded = load(base, device="cpu", dtype="bfloat16", adapter=adapter).cached.network.state_dict()
    name = LAYER.format(0) + ".weight"
    assert rounded[name].dtype == torch.bfloat16
    assert torch.equal(rounded[name], exact[name].bfloat16())
