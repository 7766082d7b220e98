"""The estimate of a stage of RL, held against sums made by hand; and the GPUs of policy and judge together."""

from typing import Any

import msgspec
import pytest

from virc.models import sizes as shape
from virc.models.sizes import Shape
from virc.stages.rl import Config
from virc.training.estimate.needs import GIB, Estimate, Term, estimate

SEVEN_B, THREE_B = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct"
ALL_OF_7B, ALL_OF_3B = 8_292_166_656, 3_754_622_976
"""Parameters, as transformers builds these models (a test in test_estimate.py counts them)."""


def base(name: str = SEVEN_B) -> Shape:
    found = shape.published(name)
    assert found is not None
    return found


def settings(**changes: Any) -> Config:
    return msgspec.convert({"data": "x"} | changes, Config)


def estimated(longest: int = 8192, of: str = SEVEN_B, rows: int | None = None, **changes: Any) -> Estimate:
    return estimate(settings(**changes), base(of), longest, rows)


def sizes(terms: tuple[Term, ...] | None) -> dict[str, int]:
    return {term.name: round(term.gib * GIB) for term in terms or ()}


def test_the_published_stage_spreads_sixteen_bytes_a_parameter_over_its_devices() -> None:
    found = estimated()
    terms = sizes(found.terms)
    assert sum(base().parameters().values()) == ALL_OF_7B
    assert terms["trained weights"] == terms["gradients"] == ALL_OF_7B * 4 // 8
    assert terms["Adam moments"] == ALL_OF_7B * 8 // 8
    assert "frozen weights" not in terms
    tokens = 8192 + 512
    assert terms["logits"] == tokens * 152_064 * 2 * 5
    assert terms["activations"] == tokens * 3584 * 2 * 28  # the inputs of 28 layers, in bf16
    words = 2 * 152_064 * 3584
    two_layers = (base().parameters()["language"] - words) / 28 * 2
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
