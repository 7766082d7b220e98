"""What a machine lacks for a stage, and what advice says to type: its overlays and settings are those of the stage."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from virc.core.errors import SetupError
from virc.envs.hardware import Gpu, Machine
from virc.models import sizes
from virc.stages import resolve as stages
from virc.stages import rl, sft
from virc.systems import registry as systems
from virc.training.estimate import fits
from virc.training.estimate.needs import Estimate, Term, estimate


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
        (needs(20.0), config(gpus=(1,)), machine(gpu(24.0), gpu(8.0)), False,
         ["needs 20.0 GiB a device, GPU 1 has 8.0 GiB"]),
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


def test_a_judge_that_may_be_elsewhere_is_the_hint_where_the_stage_itself_has_gpus() -> None:
    for here, starts in ((machine(*[gpu(24.0)] * 2), "--judge-endpoint URL"), (machine(gpu(24.0)), "virc doctor")):
        with pytest.raises(SetupError) as refused:
            fits.refuse_few_gpus(rollouts(judge_gpus=1), here)
        assert str(refused.value.hint).startswith(starts)
    fits.refuse_few_gpus(rollouts(judge_gpus=1), machine(*[gpu(24.0)] * 3))


ADVISED = [(name, stage) for name in ("virc", "tiny", "visual-rft") for stage in systems.get(name).stages]


def advice(system: str, stage: str) -> Iterator[str]:
    """Every way that is named for a stage."""
    found = systems.get(system)
    resolved = stages.resolve(found, stage)
    shape = sizes.published("Qwen/Qwen2.5-VL-7B-Instruct")
    assert shape
    needed = estimate(resolved.config, shape, resolved.config.longest)
    for term in (*needed.terms, *needed.host, *(needed.disk or ())):
        yield fits.cure(term.name, resolved.config, found.overlays) or ""
    if found.stages[stage].kind == "rl":
        yield fits.judges(found.overlays)


def test_a_stage_takes_what_advice_says_to_type() -> None:
    for system, stage, way in [(*each, way) for each in ADVISED for way in advice(*each)]:
        overlays = [name for names in re.findall(r"--with ([\w-]+(?:,[\w-]+)*)", way) for name in names.split(",")]
        settings = re.findall(r"--set (\S+?)[,;]?(?= |$)", way)
        for overlay in overlays:
            stages.resolve(systems.get(system), stage, [overlay])
        stages.resolve(systems.get(system), stage, assignments=settings)
