"""The estimate, held against transformers' models, every byte that PyTorch holds in a step, and sums made by hand.

tests/gpu/test_estimates.py measures steps of SFT.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.models import sizes as shape
from virc.models.sizes import Shape
from virc.reasoning.resize import Grid, Tiles
from virc.stages import dpo, rl, sft
from virc.training.estimate.needs import GIB, OVERHEAD, Estimate, Term, Work, estimate

SHAPES = Path(shape.__file__).parent / "shapes"
THREE_B, SEVEN_B = "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"
ROPE = {"rope_type": "default", "type": "mrope", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}


PARAMETERS = {
    "Qwen/Qwen2-VL-2B-Instruct": (631_183_360, 34_087_936, 1_543_714_304),
    "Qwen/Qwen2-VL-7B-Instruct": (631_183_360, 44_575_744, 7_615_616_512),
    THREE_B: (631_975_680, 36_708_608, 3_085_938_688),
    SEVEN_B: (631_975_680, 44_574_464, 7_615_616_512),
    "Qwen/Qwen3-VL-4B-Instruct": (388_076_032, 27_271_680, 4_022_468_096),
    "Qwen/Qwen3-VL-8B-Instruct": (536_269_296, 40_119_040, 8_190_735_360),
}
"""Of vision tower, projector and language model, as transformers 5 builds them (a test below counts them)."""
ALL_OF_7B, ALL_OF_3B = sum(PARAMETERS[SEVEN_B]), sum(PARAMETERS[THREE_B])


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


PLAIN = {"data": "x", "learning_rate": 1e-5, "use_liger": False, "zero": 0, "devices": 1, "cutoff_len": 65_536}


def settings(**changes: Any) -> sft.Config:
    return msgspec.convert(PLAIN | changes, sft.Config)


def base(name: str = THREE_B) -> Shape:
    known = shape.published(name)
    assert known is not None
    return known


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
    sparse = estimate(one, msgspec.structs.replace(base(), idle=language // 2), 1000, rows, tokens)
    assert sparse.gpu_hours == pytest.approx(found.gpu_hours / 2, rel=0.06)
    assert estimate(settings(device="cpu"), base(), 1000, rows, tokens).gpu_hours is None
    assert estimate(one, base(), 1000, rows, tokens, gpu="unheard-of").gpu_hours is None


def test_logits_and_patches_are_those_of_the_type() -> None:
    for kind, holds in (("gemma3", False), ("internvl", True)):
        found = estimate(settings(use_liger=True, lora={}), msgspec.structs.replace(base(), family=kind), 8192)
        assert ("logits" in {term.name for term in found.terms}) == holds
    for grid, patches in ((Tiles(), 13 * 32**2), (Tiles(side=896, most=1), 64**2), (Grid(max_pixels=78_400), 400)):
        shown = msgspec.structs.replace(base(), grid=grid)
        assert Work(settings(max_pixels=200_704), shown, 65_536).patches == patches


def log_probability(model: Any, ids: Any, mask: Any, places: Any) -> Any:
    """Of each row, as LLaMA-Factory computes it: all logits in float32, and their log-softmax."""
    logits = model(input_ids=ids, position_ids=places, attention_mask=mask, use_cache=False).logits.float()
    of_each = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
    return logits, of_each.sum(-1)


def most_held(config: dict[str, Any], amp: bool, checkpointing: bool, referred: bool, tokens: int) -> int:
    """Bytes held at most in a step on one pair of a language model of real width, without computing it."""
    import torch
    from held import Held
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        model, reference = (made(config, attn_implementation="sdpa", dtype=torch.bfloat16) for _ in range(2))
        reference.requires_grad_(False)
        model.model.visual.requires_grad_(False)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.data = parameter.data.float()
        for parameter in reference.parameters() if not amp else ():
            parameter.data = parameter.data.float()
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": True})
        optimizer = torch.optim.AdamW(trained, fused=True)

        def step() -> None:
            ids = torch.ones(2, tokens, dtype=torch.long)
            mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool)
            places = torch.zeros(3, 2, tokens, dtype=torch.long)
            with torch.autocast("cpu", dtype=torch.bfloat16) if amp else nullcontext():
                kept, found = log_probability(model, ids, mask, places)
                with torch.no_grad():
                    before = log_probability(reference, ids, mask, places)[1] if referred else 0
                margin = found - before
                loss = -torch.nn.functional.logsigmoid(0.1 * (margin[0] - margin[1])).mean()
                loss = loss + kept.mean().detach() * 0  # its metrics look at the logits before the backward pass
            del kept
            loss.backward()
            optimizer.step()

        with Held(model, *([reference] if referred else [])) as held:
            step()
            held.from_here()
            step()
            return held.most


@pytest.mark.integration
@pytest.mark.parametrize(
    ("amp", "checkpointing", "referred", "vocabulary", "tokens"),
    [(True, True, True, 151_936, 2048), (True, True, False, 151_936, 2048), (False, False, True, 151_936, 1024)],
)
def test_a_step_on_a_pair_holds_what_the_estimate_says(
    amp: bool, checkpointing: bool, referred: bool, vocabulary: int, tokens: int, tmp_path: Path
) -> None:
    config = content(THREE_B, num_hidden_layers=2, vocab_size=vocabulary)
    config["vision_config"]["depth"] = 2
    changes = {"gradient_checkpointing": checkpointing, "loss": "sigmoid" if referred else "orpo", "max_pixels": 784}
    changes |= {"precision": "bf16", "device": "cuda"} if amp else {"precision": "float32", "device": "cpu"}
    chosen = msgspec.convert(PLAIN | changes, dpo.Config)
    found = estimate(chosen, shaped(tmp_path, config), tokens)
    most = most_held(config, amp, checkpointing, referred, tokens)
    estimated = (found.device_gib - OVERHEAD[chosen.device]) * GIB
    assert most == pytest.approx(estimated, rel=0.08)


def estimated(longest: int = 8192, of: str = SEVEN_B, rows: int | None = None, **changes: Any) -> Estimate:
    return estimate(msgspec.convert({"data": "x"} | changes, rl.Config), base(of), longest, rows)


def sizes(terms: tuple[Term, ...] | None) -> dict[str, int]:
    return {term.name: round(term.gib * GIB) for term in terms or ()}


def test_the_published_stage_spreads_sixteen_bytes_a_parameter_over_its_devices() -> None:
    found = estimated()
    terms = sizes(found.terms)
    assert terms["trained weights"] == terms["gradients"] == ALL_OF_7B * 4 // 8
    assert terms["Adam moments"] == ALL_OF_7B * 8 // 8
    assert "frozen weights" not in terms
    tokens = 8192 + 512
    assert terms["logits"] == tokens * 152_064 * 2 * 5
    assert terms["activations"] == tokens * 3584 * 2 * 28  # the inputs of 28 layers, in bf16
    words = 2 * 152_064 * 3584
    two_layers = (base(SEVEN_B).parameters()["language"] - words) / 28 * 2
    assert terms["weights brought together"] == round((words + two_layers) * 2)
    assert found.device_gib == pytest.approx(sum(terms.values()) / GIB)
    assert found.device_gib < 79.6


def test_main_memory_holds_what_waits_while_rollouts_are_written() -> None:
    host = sizes(estimated().host)
    assert host["offloaded state"] == ALL_OF_7B * 12
    assert host["weights while they are read"] == ALL_OF_7B * 4  # by one process, for its words are not tied
    assert "reference model" not in host
    assert sizes(estimated(kl_loss_coef=0.01).host)["reference model"] == ALL_OF_7B * 4
    assert "offloaded state" not in sizes(estimated(offload=False).host)
    tied = sizes(estimated(of=THREE_B, devices=4).host)
    assert tied["weights while they are read"] == 4 * ALL_OF_3B * 4
    assert sizes(estimated(nodes=2).host)["offloaded state"] == ALL_OF_7B * 12 // 2


def test_steps_are_whole_batches_and_a_judge_is_asked_once_or_twice_a_reply() -> None:
    assert estimated(rows=6463).steps == 100
    assert estimated(rows=6400, epochs=2).steps == 200
    assert estimated(rows=6400, steps=7).steps == 7
    assert estimated().judge_calls is None
    assert estimated(judge_gpus=4).judge_calls == (512, 1024)
    judge = {"judge": {"endpoint": "http://judge:8000/v1"}}
    assert estimated(reward=judge).judge_calls == (512, 1024)
    assert estimated(reward=judge, rollout="multi_turn", max_turns=4).judge_calls == (512, 4096)
