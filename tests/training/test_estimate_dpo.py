"""The estimate of a stage of kind `dpo`, held against every byte that PyTorch holds in a step on a pair."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import test_estimate as supervised

from virc.models.sizes import Shape
from virc.stages.dpo import Config
from virc.training.estimate.needs import GIB, OVERHEAD, estimate


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
    [(True, True, True, 151_936, 2048), (True, True, False, 151_936, 2048), (False, False, True, 151_936, 1024)],
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
