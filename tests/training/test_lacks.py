"""What a machine lacks for a stage: just enough is enough, and each part has the cure that helps it."""

from typing import Any

import pytest

from virc.core.errors import ConfigError, SetupError
from virc.envs.hardware import Gpu, Machine
from virc.stages import rl, sft
from virc.systems.registry import Judging, Reward
from virc.training.estimate import fits
from virc.training.estimate.needs import Estimate, Term


def gpu(gib: float, free: float | None = None) -> Gpu:
    return Gpu("A100", gib, gib if free is None else free, "570")


def machine(*gpus: Gpu, memory: float = 64.0, free: float = 64.0, disk: float = 100.0) -> Machine:
    return Machine(cores=8, memory_gib=memory, free_gib=free, disk_gib=disk, gpus=gpus)


def needs(device: float = 1.0, host: float = 1.0, disk: float | None = None) -> Estimate:
    terms = (Term("Adam moments", device, ""),)
    of_host, of_disk = (Term("image readers", host, ""),), (Term("resume state", disk or 0.0, ""),)
    return Estimate(terms, device, of_host, host, None if disk is None else of_disk, disk, None, None, None)


def config(**changes: Any) -> sft.Config:
    return sft.Config(**{"data": "rows", "learning_rate": 1e-5, "device": "cuda", "devices": 1, **changes})


def rollouts(**changes: Any) -> rl.Config:
    return rl.Config(**{"data": "rows", "device": "cuda", "devices": 2, "judge_gpus": 0, **changes})


@pytest.mark.parametrize(
    ("needed", "chosen", "here", "free", "clauses"),
    [
        (needs(24.1), config(), machine(gpu(24.0)), False, ["needs 24.1 GiB a device, GPU 0 has 24.0 GiB"]),
        (needs(20.0), config(), machine(gpu(24.0, 10.0)), True, ["needs 20.0 GiB a device, GPU 0 has 10.0 GiB free"]),
        (needs(20.0), config(devices=2), machine(gpu(24.0), gpu(16.0), gpu(8.0)), False,
         ["needs 20.0 GiB a device, GPU 1 has 16.0 GiB"]),
        (needs(20.0), config(gpus=(1,)), machine(gpu(24.0), gpu(8.0)), False,
         ["needs 20.0 GiB a device, GPU 1 has 8.0 GiB"]),
        (needs(1.0), config(devices=2), machine(gpu(24.0)), False, ["needs 2 GPUs, here 1"]),
        (needs(1.0), config(gpus=(3,)), machine(gpu(24.0), gpu(24.0)), False,
         ["needs 1 GPU, among them number 3, here 2"]),
        (needs(1.0), rollouts(judge_gpus=1), machine(gpu(24.0), gpu(24.0)), False,
         ["needs policy 2 + judge 1 GPUs, here 2"]),
        (needs(1.0, 40.0), config(device="cpu"), machine(free=30.0), True,
         ["needs 40.0 GiB of main memory, free 30.0 GiB"]),
        (needs(1.0, 1.0, 101.0), config(device="cpu"), machine(), False, ["needs 101 GiB of disk, free 100 GiB"]),
    ],
)  # fmt: skip
def test_what_is_lacking(needed: Estimate, chosen: Any, here: Machine, free: bool, clauses: list[str]) -> None:
    assert [each.clause for each in fits.lacking(needed, chosen, here, free)] == clauses


@pytest.mark.parametrize(
    ("chosen", "here", "others"),
    [
        (config(devices=2), machine(gpu(8.0), gpu(20.0), gpu(8.0), gpu(24.0), gpu(24.0)), "--set gpus=[1,3]"),
        (config(devices=2), machine(gpu(8.0), gpu(20.0)), None),
    ],
)
def test_other_gpus_are_named_where_enough_of_them_suffice(chosen: Any, here: Machine, others: str | None) -> None:
    with pytest.raises(SetupError) as refused:
        fits.refuse_unfit(needs(20.0), chosen, here)
    assert (refused.value.hint == others) == (others is not None), refused.value.hint
    assert others or "gpus=" not in str(refused.value.hint)


BOTH = frozenset({"lora", "judge-split", "rules"})
WHOLE = {"lora": None, "zero": 0}


@pytest.mark.parametrize(
    ("term", "chosen", "overlays", "cure"),
    [
        ("gradients", config(**WHOLE), BOTH, "--with lora"),
        ("gradients", config(lora=sft.Lora(), zero=0), BOTH, None),
        ("logits", config(gradient_checkpointing=True, use_liger=True, micro_batch_size_per_device=1, cutoff_len=4000,
                          max_pixels=1000), BOTH, "--set cutoff_len=2000 --set max_pixels=500"),
        ("images of a step", rollouts(train_batch_size=8, ppo_mini_batch_size=8), BOTH,
         "--set train_batch_size=4 --set ppo_mini_batch_size=4"),
        ("left unused", rollouts(sampler_memory=0.7), BOTH, "--set sampler_memory=0.8"),
    ],
)  # fmt: skip
def test_each_part_has_its_cure(term: str, chosen: Any, overlays: frozenset[str], cure: str | None) -> None:
    assert fits.cure(term, chosen, overlays) == cure


def test_a_judge_that_may_be_elsewhere_is_the_hint_where_the_stage_itself_has_gpus() -> None:
    for here, starts in ((machine(*[gpu(24.0)] * 2), "--judge-endpoint URL"), (machine(gpu(24.0)), "virc doctor")):
        with pytest.raises(SetupError) as refused:
            fits.refuse_few_gpus(rollouts(judge_gpus=1), here)
        assert str(refused.value.hint).startswith(starts)
    fits.refuse_few_gpus(rollouts(judge_gpus=1), machine(*[gpu(24.0)] * 3))
    named = Reward("virc", "published", Judging("http://judge/v1"))
    fits.refuse_no_judge(rollouts(judge_gpus=1, reward=named))
    with pytest.raises(
        ConfigError, match=r"^the reward asks a judge, and none is named \(this stage: policy 2 \+ judge 1"
    ):
        fits.refuse_no_judge(rollouts(judge_gpus=1))
    assert "judge-split" in fits.judges(BOTH)
    assert fits.judges(BOTH).endswith("or --with rules, which needs none")
    assert "judge-split" not in fits.judges(())
    assert fits.judges(()).endswith("or --set reward.total=outcome, which needs none")
