"""`virc doctor`: what is here, what fits, and what would help; and the refusal of what does not fit."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.called import virc

from virc.core.extras import install
from virc.envs.hardware import Gpu, Machine
from virc.models import sizes as shape
from virc.models.sizes import Shape
from virc.systems import registry as systems
from virc.training.estimate import fits
from virc.training.estimate.fits import Verdict

SMALL = Gpu("NVIDIA GeForce RTX 4090", 23.99, 23.5, "570.86")
LARGE = Gpu("NVIDIA A100-SXM4-80GB", 79.6, 79.1, "570.86")


def machine(*gpus: Gpu, memory: float = 500, disk: float = 2000) -> Machine:
    return Machine(cores=64, memory_gib=memory, free_gib=memory, disk_gib=disk, gpus=gpus)


def known(name: str) -> Shape | None:
    return shape.published(name)


def judged(here: Machine, stage: str = "practice") -> Mapping[tuple[str, ...], Verdict]:
    return {each.overlays: each for each in fits.judge(systems.get("virc"), stage, here, known)}


def test_a_24_gb_gpu_trains_adapters_and_no_whole_model() -> None:
    found = judged(machine(SMALL, memory=32))
    fitting = {names for names, each in found.items() if each.fits}
    assert {("3b", "lora", "1x24g"), ("7b", "lora", "1x24g")} <= fitting
    assert all("lora" in names for names in fitting)
    why = str(found["3b", "1x24g"].why)
    assert re.fullmatch(r"needs 5\d\.\d GiB a device, GPU 0 has 24\.0 GiB", why)
    assert found["3b", "1x24g"].helps == "add lora"
    assert found["7b", "8x80g"].why == "needs 8 GPUs, here 1"


def test_the_published_node_trains_as_published() -> None:
    found = judged(machine(*[LARGE] * 8))
    assert found["7b", "8x80g"].fits
    assert not judged(machine(*[LARGE] * 7, SMALL))["7b", "8x80g"].fits
    smaller = judged(machine(SMALL, *[LARGE] * 8))["7b", "8x80g"]
    assert (smaller.fits, smaller.helps) == (False, "--set gpus=[1,2,3,4,5,6,7,8]")  # torch takes the first ones


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a machine whose PATH holds no nvidia-smi."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_stage_that_runs_here_is_exit_0_and_one_that_does_not_4(plain: Path) -> None:
    assert virc("doctor", "tiny", "--stage", "practice").code == 0
    done = virc("doctor", "--stage", "practice", "--with", "3b,lora", "--with", "1x24g")
    assert done.code == 4
    assert "no   3b,lora,1x24g  needs 1 GPU, here none" in done.out
    assert "error: virc practice cannot run here: needs 1 GPU, here none" in done.err
    assert virc("doctor", "--stage", "practice").code == 4


def test_json_is_one_object_with_the_same_keys_on_failure(plain: Path) -> None:
    good, bad = virc("doctor", "tiny", "--json"), virc("doctor", "--stage", "practice", "--json")
    assert set(good.json) == set(bad.json) == set(virc("doctor", "nosuch", "--json").json)
    assert good.json["schema"] == "virc.doctor/1"
    assert good.json["error"] is None
    assert bad.json["error"]["code"] == 4
    assert bad.json["stages"][0]["combinations"][0]["why"] == "needs 8 GPUs, here none"
    assert good.json["machine"]["gpus"] == []
    extras = {extra["name"]: extra for extra in good.json["extras"]}
    assert extras["local"]["missing"] == []
    assert extras["heic"]["install"] == install("heic")
    assert not {"all", "dev"} & extras.keys()
    assert good.json["telemetry"]["variables"]["DO_NOT_TRACK"] == "1"


def test_the_published_rl_fits_one_node_with_its_judge_on_the_same_or_elsewhere() -> None:
    found = judged(machine(*[LARGE] * 8), "rl")
    assert found["7b", "judge-split"].fits
    assert found["7b", "judge-split"].needs.startswith("policy 4 + judge 4 GPUs with ")
    published = found["7b", "8x80g"]
    assert published.why == "needs policy 8 + judge 4 GPUs, here 8"
    assert "--judge-endpoint URL" in str(published.helps)
    assert judged(machine(*[LARGE] * 12), "rl")["7b", "8x80g"].fits
