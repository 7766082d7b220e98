"""The estimate of a stage of kind `dpo`, held against every byte that PyTorch holds in a step on a pair."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import test_estimate as supervised

from virc.models.sizes import Shape
from virc.stages.dpo import Config
from virc.stages.sft import Lora
from virc.training.estimate.needs import GIB, OVERHEAD, Work, estimate, logits


def settings(**changes: Any) -> Config:
    plain = {"data": "x", "learning_rate": 1e-5, "use_liger": False, "zero": 0, "devices": 1, "cutoff_len": 65_536}
    return msgspec.convert(plain | changes, Config)


def base() -> Shape:
    return supervised.base("Qwen/Qwen2.5-VL-7B-Instruct")


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
        model, reference = (supervised.made(config, attn_implementation="sdpa", dtype=torch.bfloat16) for _ in range(2))
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
            supervised.backward(loss)
            optimizer.step()

        with Held(model, *([reference] if referred else [])) as held:
            step()
            held.from_here()
            step()
            return held.most


@pytest.mark.integration
@pytest.mark.parametrize(
    ("amp", "checkpointing", "referred", "vocabulary", "tokens"),
    [
        (True, True, True, 151_936, 2048),
        (True, True, False, 151_936, 2048),
        (False, False, True, 151_936, 1024),
        (False, True, False, 1000, 4096),
    ],
)
def test_a_step_holds_what_the_estimate_says(
    amp: bool, checkpointing: bool, referred: bool, vocabulary: int, tokens: int, tmp_path: Path
) -> None:
    config = supervised.content(supervised.THREE_B, num_hidden_layers=2, vocab_size=vocabulary)
    config["vision_config"]["depth"] = 2
    chosen = settings(
        precision="bf16" if amp else "float32", gradient_checkpointing=checkpointing, max_pixels=784,
        loss="sigmoid" if referred else "orpo", device="cuda" if amp else "cpu",
    )  # fmt: skip
    found = estimate(chosen, supervised.shaped(tmp_path, config), tokens)
    most = most_held(config, amp, checkpointing, referred, tokens)
    estimated = (found.device_gib - OVERHEAD[chosen.device]) * GIB
    assert most == pytest.approx(estimated, rel=0.08)


def test_a_reference_is_held_only_where_a_loss_has_one() -> None:
    plain = supervised.state(estimate(settings(), base(), 4096))
    assert plain["reference weights"] == sum(base().parameters().values()) * 2
    for others in ({"loss": "orpo"}, {"loss": "simpo"}, {"lora": Lora()}):
        assert "reference weights" not in supervised.state(estimate(settings(**others), base(), 4096))
    spread = supervised.state(estimate(settings(zero=3, devices=8), base(), 4096))
    assert spread["reference weights"] == pytest.approx(plain["reference weights"] / 8, rel=1e-6)


def test_a_pair_takes_twice_a_row_and_kto_once() -> None:
    pair = supervised.state(estimate(settings(loss="orpo"), base(), 8192))
    row = supervised.state(estimate(settings(loss="kto"), base(), 8192))
    alone = supervised.state(estimate(supervised.settings(), base(), 8192))
    assert pair["activations"] == 2 * row["activations"] == 2 * alone["activations"]


def test_steps_count_pairs_and_liger_spares_no_logits() -> None:
    known = {"rows": 1000, "total_tokens": 10**6}
    one = estimate(settings(train_batch_size=8, use_liger=True), base(), 4096, **known)
    assert one.steps == 125
    assert "logits" in supervised.state(one)
    more = estimate(settings(train_batch_size=8, loss="kto"), base(), 4096, **known)
    assert (
        more.gpu_hours
        > one.gpu_hours
        > estimate(supervised.settings(train_batch_size=8), base(), 4096, **known).gpu_hours
    )


@pytest.mark.parametrize(("loss", "held"), [("sigmoid", 16), ("orpo", 14)])
def test_logits_of_both_sides_are_held_as_the_loss_needs_them(loss: str, held: int) -> None:
    config = settings(loss=loss)
    assert logits(Work.of(config, base(), 1000, 0)).gib * GIB == held * 2 * 1000 * 152_064


def test_only_zero_3_spreads_the_reference() -> None:
    found = {zero: estimate(settings(zero=zero, devices=4), base(), 100).terms for zero in (2, 3)}
    whole = sum(base().parameters().values()) * 2
    assert supervised.named("reference weights", found[2]) == whole
    assert supervised.named("reference weights", found[3]) == whole / 4
