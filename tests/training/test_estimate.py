"""The estimate, held against transformers' models: their parameters, and every byte that PyTorch holds in a step."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.models import sizes as shape
from virc.models.sizes import Shape
from virc.stages.sft import Config
from virc.training.estimate.needs import GIB, OVERHEAD, Estimate, estimate

SHAPES = Path(shape.__file__).parent / "shapes"
THREE_B = "Qwen/Qwen2.5-VL-3B-Instruct"
ROPE = {"rope_type": "default", "type": "mrope", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
STAYS = {"frozen weights", "trained weights", "gradients", "Adam moments"}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small sums on a machine that others use: a second thread only waits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PARAMETERS = {
    "Qwen/Qwen2-VL-2B-Instruct": (631_183_360, 34_087_936, 1_543_714_304),
    "Qwen/Qwen2-VL-7B-Instruct": (631_183_360, 44_575_744, 7_615_616_512),
    THREE_B: (631_975_680, 36_708_608, 3_085_938_688),
    "Qwen/Qwen2.5-VL-7B-Instruct": (631_975_680, 44_574_464, 7_615_616_512),
    "Qwen/Qwen3-VL-4B-Instruct": (388_076_032, 27_271_680, 4_022_468_096),
    "Qwen/Qwen3-VL-8B-Instruct": (536_269_296, 40_119_040, 8_190_735_360),
}
"""Of vision tower, projector and language model, as transformers 5 builds them (a test below counts them)."""


def content(name: str, **changes: Any) -> dict[str, Any]:
    """The config.json of a published base, as far as it lies in the package."""
    file = SHAPES / f"{name.replace('/', '--')}.json"
    read: dict[str, Any] = json.loads(file.read_text())
    return read | {"rope_scaling": ROPE} | changes


def shaped(folder: Path, config: dict[str, Any]) -> Shape:
    (folder / "config.json").write_text(json.dumps(config))
    return shape.of_folder(folder)


def made(config: dict[str, Any], **how: Any) -> Any:
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[config["model_type"]]
    build: Any = AutoModelForImageTextToText.from_config
    return build(kind.from_dict(config), **how)


def parts_of(model: Any) -> dict[str, int]:
    """Parameters by the part that LLaMA-Factory counts them to."""
    counted = {"vision": 0, "projector": 0, "language": 0}
    for name, parameter in model.named_parameters():
        part = "projector" if "visual.merger" in name else "vision" if "visual." in name else "language"
        counted[part] += parameter.numel()
    return counted


def settings(**changes: Any) -> Config:
    plain = {"data": "x", "learning_rate": 1e-5, "use_liger": False, "zero": 0, "devices": 1, "cutoff_len": 65_536}
    return msgspec.convert(plain | changes, Config)


def state(found: Estimate) -> dict[str, float]:
    return {term.name: round(term.gib * GIB) for term in found.terms}


def test_parameters_of_published_bases_are_known() -> None:
    assert {file.stem.replace("--", "/") for file in SHAPES.glob("*.json")} == PARAMETERS.keys()
    for name, parts in PARAMETERS.items():
        assert tuple(base(name).parameters().values()) == parts


@pytest.mark.integration
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_published_bases_are_those_of_transformers(name: str) -> None:
    import torch

    with torch.device("meta"):
        assert base(name).parameters() == parts_of(made(content(name)))


def backward(loss: Any) -> None:
    loss.backward()


def most_held(config: dict[str, Any], mode: str, gradient_checkpointing: bool, tokens: int) -> tuple[int, int]:
    """Bytes held at most in two steps of training a language model of real width, without computing them; and those
    that stay between steps. What LLaMA-Factory does: trained weights in float32 but for `pure`, mask of a padded row,
    reentrant gradient_checkpointing, gradients of one micro-batch there while the next is computed."""
    import torch
    from held import Held
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        model = made(config, attn_implementation="sdpa", dtype=torch.bfloat16)
        model.model.visual.requires_grad_(False)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained if mode != "pure" else ():
            parameter.data = parameter.data.float()
        model.config.text_config.use_cache = False
        model.train()
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": True})
        optimizer = torch.optim.AdamW(trained, fused=True)

        def loss() -> Any:
            ids = torch.ones(1, tokens, dtype=torch.long)
            mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
            places = torch.zeros(3, 1, tokens, dtype=torch.long)
            cast = torch.autocast("cpu", dtype=torch.bfloat16) if mode == "amp" else nullcontext()
            with cast:
                out = model(input_ids=ids, position_ids=places, attention_mask=mask, labels=ids)
            return out.loss

        with Held(model) as held:
            backward(loss())
            optimizer.step()
            held.from_here()
            backward(loss())
            optimizer.step()
            return held.most, held.now


@pytest.mark.integration
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("mode", "gradient_checkpointing", "vocabulary", "layers", "tokens"),
    [("amp", True, 151_936, 4, 4096), ("amp", False, 151_936, 2, 2048), ("float32", False, 151_936, 2, 2048)],
)
def test_a_step_holds_what_the_estimate_says(
    mode: str, gradient_checkpointing: bool, vocabulary: int, layers: int, tokens: int, tmp_path: Path
) -> None:
    config = content(THREE_B, num_hidden_layers=layers, vocab_size=vocabulary)
    config["vision_config"]["depth"] = 2
    chosen = settings(
        precision="bf16" if mode == "amp" else mode, gradient_checkpointing=gradient_checkpointing, max_pixels=784
    )
    found = estimate(chosen, shaped(tmp_path, config), tokens)
    most, between = most_held(config, mode, gradient_checkpointing, tokens)
    estimated = (found.device_gib - OVERHEAD["cuda"]) * GIB
    assert most == pytest.approx(estimated, rel=0.08)
    stays = sum(size for name, size in state(found).items() if name in STAYS)
    assert between == pytest.approx(stays, rel=0.01)


def base(name: str = THREE_B) -> Shape:
    known = shape.published(name)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("changes", "rows", "steps"),
    [
        ({"train_batch_size": 16, "micro_batch_size_per_device": 4, "epochs": 3}, 96, 18),
        ({"train_batch_size": 64, "devices": 8, "epochs": 3}, 50_000, 2346),
        ({"train_batch_size": 64, "epochs": 0.5}, 10, 1),
    ],
)
def test_steps_are_counted_as_the_engine_counts_them(
    changes: dict[str, Any], rows: int | None, steps: int | None
) -> None:
    assert estimate(settings(**changes), base(), 100, rows=rows).steps == steps


def test_disk_holds_every_checkpoint_and_the_newest_resume_states() -> None:
    trained = base().parameters()["language"]
    frozen = sum(base().parameters().values()) - trained
    found = estimate(
        settings(train_batch_size=10, save_steps=2, save_total_limit=None), base(), 100, rows=100
    )  # 5 checkpoints
    assert found.disk is not None
    sizes = {term.name: round(term.gib * GIB) for term in found.disk}
    assert sizes == {"weights": 6 * (4 * trained + 2 * frozen), "resume state": 3 * 8 * trained}
    kept_two = estimate(settings(train_batch_size=10, save_steps=2, save_total_limit=2), base(), 100, rows=100)
    assert (kept_two.disk_gib or 0) < (found.disk_gib or 0)
    assert estimate(settings(save_steps=2), base(), 100).disk is None
    assert estimate(settings(save_steps="epoch", epochs=3), base(), 100).disk_gib is not None


def test_hours_follow_from_parameters_tokens_and_passes() -> None:
    one = settings(epochs=1, gradient_checkpointing=False, train_batch_size=10, max_pixels=784)
    rows, tokens = 1000, 1_000_000
    found = estimate(one, base(), 1000, rows=rows, total_tokens=tokens)
    language = base().parameters()["language"]
    assert found.gpu_hours == pytest.approx(6 * language * tokens / (312e12 * 0.35 * 3600), rel=0.06)
    assert found.gpu_hours is not None
    assert found.assumed == "35% of the 312 TFLOP/s of one A100"
    three = estimate(
        settings(epochs=3, gradient_checkpointing=True, train_batch_size=10, max_pixels=784), base(), 1000, rows, tokens
    )
    assert three.gpu_hours is not None
    assert three.gpu_hours / found.gpu_hours == pytest.approx(3 * 8 / 6, rel=0.01)
    faster = estimate(one, base(), 1000, rows, tokens, gpu="NVIDIA H100 80GB HBM3")
    assert faster.gpu_hours == pytest.approx(found.gpu_hours * 312 / 989)
    assert estimate(settings(device="cpu"), base(), 1000, rows, tokens).gpu_hours is None
    assert estimate(one, base(), 1000, rows, tokens, gpu="unheard-of").gpu_hours is None
