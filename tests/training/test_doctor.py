"""What a machine lacks for a stage, what helps, and `virc doctor`, which says so of all overlays."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.tables import each_case

from virc.core.errors import SetupError
from virc.core.events import Reporter
from virc.core.extras import install
from virc.core.options import spelled
from virc.envs.hardware import Gpu, Machine
from virc.models import sizes
from virc.probing import servers
from virc.probing.servers import LocalServer
from virc.stages import resolve as stages
from virc.stages import rl, sft
from virc.systems import registry as systems
from virc.training.estimate import fits, levels
from virc.training.estimate.fits import Verdict
from virc.training.estimate.needs import Estimate, Term, estimate
from virc.training.request import TrainRequest

SMALL = Gpu("NVIDIA GeForce RTX 4090", 23.99, 23.5, "570.86")
LARGE = Gpu("NVIDIA A100-SXM4-80GB", 79.6, 79.1, "570.86")


def machine(*gpus: Gpu, memory: float = 500, free: float = 500, disk: float = 2000) -> Machine:
    return Machine(cores=64, memory_gib=memory, free_gib=free, disk_gib=disk, gpus=gpus)


def judged(system: str, stage: str, here: Machine) -> dict[tuple[str, ...], Verdict]:
    combinations = fits.combinations(systems.get(system), stage)
    return {resolved.overlays: fits.verdict(resolved, here, sizes.published) for resolved in combinations}


def needs(device: float = 1.0, host: float = 1.0, disk: float | None = None) -> Estimate:
    terms = (Term("Adam moments", device, ""),)
    of_host, of_disk = (Term("image readers", host, ""),), (Term("resume state", disk or 0.0, ""),)
    return Estimate(terms, device, of_host, host, None if disk is None else of_disk, disk, None, None, None)


def supervised(**changes: Any) -> sft.Config:
    return sft.Config(**{"data": "rows", "learning_rate": 1e-5, "device": "cuda", "devices": 1, **changes})


def rollouts(**changes: Any) -> rl.Config:
    return rl.Config(**{"data": "rows", "device": "cuda", "devices": 2, "judge_gpus": 0, **changes})


NO_HINT = "virc doctor says what fits here"


@each_case(
    ("needed", "chosen", "here", "message", "hint"),
    [
        (needs(24.1), supervised(), machine(SMALL), "needs 24.1 GiB a device, GPU 0 has 23.5 GiB free; most of it: "
         "Adam moments 24.1 GiB", "--with lora"),
        (needs(60.0), supervised(gpus=(1,)), machine(LARGE, SMALL), "needs 60.0 GiB a device, GPU 1 has 23.5 GiB free",
         "--with lora"),
        (None, supervised(gpus=(3,)), machine(SMALL, SMALL), "needs 1 GPU, among them number 3, here 2", NO_HINT),
        (None, rollouts(judge_gpus=1), machine(SMALL, SMALL), "needs policy 2 + judge 1 GPUs, here 2",
         "--judge-endpoint URL"),
        (None, rollouts(judge_gpus=1), machine(SMALL), "needs policy 2 + judge 1 GPUs, here 1", NO_HINT),
        (needs(1.0, 501.0), supervised(), machine(SMALL), "needs 501 GiB of main memory, free 500 GiB", NO_HINT),
        (needs(1.0, 40.0), supervised(device="cpu"), machine(free=30.0), "needs 40.0 GiB of main memory, free 30.0 GiB",
         "--with lora"),
        (needs(1.0, 1.0, 2001.0), supervised(device="cpu"), machine(), "needs 2001 GiB of disk, free 2000 GiB",
         "--set save_total_limit=1"),
    ],
)  # fmt: skip
def test_a_stage_that_does_not_fit_is_refused(
    needed: Estimate | None, chosen: Any, here: Machine, message: str, hint: str
) -> None:
    with pytest.raises(SetupError) as refused:
        fits.refuse_unfit(chosen, here, needed, ["lora"])
    assert refused.value.message.startswith(f"this stage {message}")
    assert str(refused.value.hint).startswith(hint)


@each_case("system", ["virc", "tiny", "visual-rft"])
def test_a_stage_takes_what_hints_say_to_type(system: str) -> None:
    found, nothing = systems.get(system), machine(Gpu("A100", 0.1, 0.1, "570"), memory=0.1, disk=0.1)
    for stage in found.stages:
        hints = [fits.judges(found.overlays)] if found.stages[stage].kind == "rl" else []
        for overlays in ([], ["lora"]):
            config = stages.resolve(found, stage, overlays).config
            for needed in (needs(1.0), needs(0.0, 0.0, 1.0)):
                lack = fits.lacking(config, nothing, needed, found.overlays)
                hints.append((lack and lack.helps) or "")
        for hint in map(spelled, hints):
            for overlay in re.findall(r"--with ([\w-]+)", hint):
                stages.resolve(found, stage, [overlay])
            for setting in re.findall(r"--set ([^\s,;]+)", hint):
                stages.resolve(found, stage, assignments=[setting])


@each_case("hardware", ["1x24g", "1x80g", "8x80g"])
def test_overlays_fit_the_gpus_they_name_but_where_they_say_so(hardware: str) -> None:
    virc_system, refused = systems.get("virc"), set()
    options = product(virc_system.stages, ("3b", "7b", "fixed"), ("lora", ""), ("multi-turn", ""))
    for stage, base, *others in options:
        overlays = [name for name in (base, *others, hardware) if name]
        resolved = stages.resolve(virc_system, stage, overlays)
        shape = sizes.published(stages.root_of(resolved))
        assert shape
        needed = estimate(resolved.config, shape, resolved.config.longest)
        if fits.over_target(resolved.config, shape, needed):
            refused.add((stage == "rl", base == "3b", "lora" in overlays, stage == "rl" and "multi-turn" in overlays))
    every = product((True, False), repeat=4)
    said = {
        "1x24g": lambda rl, small, lora, long: not lora or (rl and (long or not small)),
        "1x80g": lambda rl, small, lora, long: not lora and (long or not small),
        "8x80g": lambda *_: False,
    }[hardware]
    assert refused == {each for each in every if said(*each) and (each[0] or not each[3])}


@each_case(("stage", "overlays", "gib", "trained", "bits"), [
    ("rl", ("3b", "1x80g"), 79.6, "training all weights fits: it needs 1 GPU with 73.7 GiB each", None),
    ("rl", ("3b", "1x80g"), 40.0, "LoRA fits: it needs 1 GPU", None),
    ("instruct", ("3b", "1x24g"), 23.5, "LoRA fits: it needs 1 GPU", None),
    ("instruct", ("3b", "1x24g"), 10.0, "QLoRA fits: it needs 1 GPU", 4),
    ("instruct", ("3b", "lora", "1x24g"), 10.0, "QLoRA fits: it needs 1 GPU", 4),
])  # fmt: skip
def test_the_most_that_fits_is_trained_and_said(
    stage: str, overlays: tuple[str, ...], gib: float, trained: str, bits: int | None
) -> None:
    said: list[str] = []
    here = machine(Gpu("A100", 80.0, gib, "570"))  # the rest is taken by others
    request = TrainRequest(system="virc", stage=stage, overlays=overlays)
    asked, found = levels.fitted(request, here, Reporter(lambda event: said.append(event.text)))
    assert asked.resolve() == found
    assert (found.config.lora is not None) == ("LoRA" in trained)
    assert found.config.engine.get("quantization_bit") == bits
    assert said[0].startswith(trained)
    assert ("all weights needs" in said[0]) == ("lora" not in overlays and found.config.lora is not None)
    with pytest.raises(SetupError, match=r"finds nothing that fits: .*LoRA needs .* GPU 0 has 1\.0 GiB free"):
        levels.fitted(request, machine(Gpu("A100", 80.0, 1.0, "570")), Reporter(None))


def test_the_base_of_a_system_is_judged_with_those_of_its_overlays() -> None:
    assert {(), ("72b",)} <= judged("vicrit", "rl", machine()).keys()


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


def test_what_works_and_what_to_type_is_said_in_fifteen_lines(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [LocalServer(f"http://127.0.0.1:{port}/v1", "Ollama", ("qwen3-vl:8b",)) for port in range(5)]
    monkeypatch.setattr(servers, "local_servers", lambda: found)
    lines = virc("doctor", "tiny").out.splitlines()
    assert len(lines) <= 15
    assert [line for line in lines if line.startswith(("model ", "practice ", "next: "))] == [
        "model         tiny, in the package",
        "practice      fits with 2x; lora,2x; no overlay; virc doctor tiny --stage practice",
        "next: virc solve figure.png 'QUESTION' --endpoint http://127.0.0.1:0/v1 --model qwen3-vl:8b",
    ]
    everything = virc("doctor", "tiny", "--all").out
    assert all(text in everything for text in ("telemetry", "environments", "tiny practice\n  fits "))
    monkeypatch.setenv("VIRC_ENDPOINT", "http://there/v1")
    assert "model         the served one at http://there/v1\n" in virc("doctor", "tiny").out


def test_a_stage_of_unknown_needs_is_not_said_to_fit_nowhere(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "verdict", lambda *_: Verdict((), None, "1 GPU", "its sizes are not known"))
    assert "practice      not known to fit; virc doctor tiny --stage practice" in virc("doctor", "tiny").out


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
