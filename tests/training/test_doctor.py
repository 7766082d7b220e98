"""`virc doctor`: what is here, what fits, and what would help; and the refusal of what does not fit."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from support.called import virc

from virc.core.errors import SetupError
from virc.core.extras import install
from virc.envs.hardware import Gpu, Machine
from virc.models import sizes as shape
from virc.models.sizes import Shape
from virc.stages import resolve as stages
from virc.stages.sft import Config
from virc.systems import registry as systems
from virc.training.estimate import fits
from virc.training.estimate.fits import Verdict
from virc.training.estimate.needs import Estimate, estimate

SMALL = Gpu("NVIDIA GeForce RTX 4090", 23.99, 23.5, "570.86")
LARGE = Gpu("NVIDIA A100-SXM4-80GB", 79.6, 79.1, "570.86")


def machine(*gpus: Gpu, memory: float = 500, disk: float = 2000) -> Machine:
    return Machine(cores=64, memory_gib=memory, free_gib=memory, disk_gib=disk, gpus=gpus)


def known(name: str) -> Shape | None:
    return shape.published(name)


def judged(here: Machine, stage: str = "practice") -> Mapping[tuple[str, ...], Verdict]:
    return {each.overlays: each for each in fits.judge(systems.get("virc"), stage, here, known)}


def needed(*overlays: str, longest: int = 6000) -> tuple[Estimate, Config]:
    config: Config = stages.resolve(systems.get("virc"), "instruct", overlays).config
    assert config.base
    found = known(config.base)
    assert found is not None
    return estimate(config, found, longest, rows=50_000, total_tokens=10**8), config


@pytest.mark.parametrize("stage", ["instruct", "practice"])
def test_a_24_gb_gpu_trains_adapters_and_no_whole_model(stage: str) -> None:
    found = judged(machine(SMALL, memory=32), stage)
    fitting = {names for names, each in found.items() if each.fits}
    assert {("3b", "lora", "1x24g"), ("7b", "lora", "1x24g")} <= fitting
    assert all("lora" in names for names in fitting)
    why = str(found["3b", "1x24g"].why)
    assert re.fullmatch(r"needs 5\d\.\d GiB a device, GPU 0 has 24\.0 GiB", why)
    assert found["3b", "1x24g"].helps == "add lora"
    assert found["7b", "8x80g"].why == "needs 8 GPUs, here 1"


def test_an_80_gb_gpu_trains_all_of_3b_and_an_adapter_of_7b() -> None:
    found = judged(machine(LARGE))
    assert found["3b", "1x80g"].fits
    assert found["7b", "lora", "1x80g"].fits
    assert found["7b", "1x80g"].helps == "add lora"


def test_the_published_node_trains_as_published() -> None:
    found = judged(machine(*[LARGE] * 8))
    assert found["7b", "8x80g"].fits
    assert not judged(machine(*[LARGE] * 7, SMALL))["7b", "8x80g"].fits
    smaller = judged(machine(SMALL, *[LARGE] * 8))["7b", "8x80g"]
    assert (smaller.fits, smaller.helps) == (False, "--set gpus=[1,2,3,4,5,6,7,8]")  # torch takes the first ones


def test_main_memory_and_disk_count_too() -> None:
    crowded = judged(machine(*[LARGE] * 8, memory=60))["7b", "8x80g"]
    assert "of main memory" in str(crowded.why)
    assert crowded.helps == "less with --set loaders=4"  # nothing makes the largest part, the processes, smaller
    assert "of disk" in str(judged(machine(*[LARGE] * 8, disk=100))["7b", "8x80g"].why)


def test_a_base_of_unknown_size_is_not_judged() -> None:
    found = fits.verdict(systems.get("virc"), "instruct", ("3b", "1x24g"), machine(SMALL), lambda _name: None)
    assert found.fits is None
    assert "Qwen/Qwen2.5-VL-3B-Instruct is not on this machine" in str(found.why)
    few = fits.verdict(systems.get("virc"), "instruct", ("3b", "1x24g"), machine(), lambda _name: None)
    assert (few.fits, few.needs, few.why) == (False, "1 GPU", "needs 1 GPU, here none"), "that is known all the same"


def test_combinations_name_every_hardware_base_and_adapter_once() -> None:
    names = list(fits.combinations(systems.get("virc"), "practice"))
    assert len(names) == len(set(names)) == 4 * 2 * 2
    assert ("3b", "lora", "1x24g") in names
    assert list(fits.combinations(systems.get("tiny"), "instruct")) == [(), ("lora",), ("2x",), ("lora", "2x")]


def test_what_does_not_fit_is_refused_with_its_largest_parts_and_a_way_out() -> None:
    with pytest.raises(SetupError) as refused:
        fits.refuse_unfit(*needed("3b", "1x24g"), machine(SMALL))
    said = (
        r"this stage needs 5\d\.\d GiB a device, GPU 0 has 23\.5 GiB free; "
        r"most of it: Adam moments 23\.0 GiB and trained weights 11\.5 GiB"
    )
    assert re.fullmatch(said, refused.value.message)
    assert refused.value.hint == "--with lora"


@pytest.mark.parametrize(
    ("overlays", "here", "words"),
    [
        (("7b",), machine(LARGE), "needs 8 GPUs, here 1"),
        (("7b",), machine(), "needs 8 GPUs, here none"),
        (("7b",), machine(*[LARGE] * 8, disk=50), "of disk, free 50.0 GiB; most of it: resume state"),
        (("7b",), machine(*[LARGE] * 8, memory=40), "of main memory, free 40.0 GiB; most of it: training processes"),
        (("3b", "cpu"), machine(memory=20), "of main memory, free 20.0 GiB; most of it: Adam moments"),
    ],
)
def test_each_thing_that_lacks_is_named(overlays: tuple[str, ...], here: Machine, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        fits.refuse_unfit(*needed(*overlays), here)


def test_less_main_memory_is_taken_by_fewer_readers_of_images_and_not_by_an_adapter() -> None:
    with pytest.raises(SetupError) as refused:
        fits.refuse_unfit(*needed("7b"), machine(*[LARGE] * 8, memory=40))
    assert refused.value.hint == "--set loaders=4"


def test_what_fits_is_not_refused() -> None:
    fits.refuse_unfit(*needed("3b", "lora", "1x24g"), machine(SMALL))


def test_a_gpu_that_others_use_is_refused_but_fits() -> None:
    busy = msgspec.structs.replace(SMALL, free_gib=3.0)
    with pytest.raises(SetupError, match=r"has 3\.0 GiB free"):
        fits.refuse_unfit(*needed("3b", "lora", "1x24g"), machine(busy))
    assert judged(machine(busy))["3b", "lora", "1x24g"].fits


def test_a_driver_in_trouble_is_the_hint() -> None:
    trouble = "an NVIDIA driver is loaded, but no GPU answers"
    with pytest.raises(SetupError) as refused:
        fits.refuse_unfit(*needed("3b"), msgspec.structs.replace(machine(), trouble=trouble))
    assert refused.value.hint == trouble
    with pytest.raises(SetupError) as refused:
        fits.refuse_few_gpus(needed("3b")[1], msgspec.structs.replace(machine(), trouble=trouble))
    assert refused.value.hint == trouble


def test_every_way_out_that_can_be_typed_makes_the_estimate_smaller() -> None:
    """For a stage on which all of it can be asked for."""
    changes = [
        "micro_batch_size_per_device=4",
        "zero=2",
        "gradient_checkpointing=false",
        "use_liger=false",
        "devices=2",
        "save_total_limit=3",
    ]
    whole, config = sized(changes)
    terms = (*whole.terms, *whole.host, *(whole.disk or ()))
    advice = {word for term in terms for word in fits._cures((term,), config)}
    assert {"--with lora", "--set gradient_checkpointing=true", "--set save_total_limit=1"} <= advice
    for words in advice - {"a smaller base"}:
        given = [word for word in words.split() if "=" in word]
        less, _ = sized([*changes, *given], ["lora"] if "lora" in words else [])
        before, after = ((found.device_gib, found.host_gib, found.disk_gib or 0.0) for found in (whole, less))
        assert any(new < old - 0.01 for new, old in zip(after, before, strict=True)), words


def sized(changes: list[str], overlays: Sequence[str] = ()) -> tuple[Estimate, Config]:
    config: Config = stages.resolve(systems.get("virc"), "instruct", overlays, assignments=changes).config
    found = known("Qwen/Qwen2.5-VL-7B-Instruct")
    assert found is not None
    return estimate(config, found, config.cutoff_len, rows=9000), config


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a machine whose PATH holds no nvidia-smi."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_doctor_prints_what_is_here(plain: Path) -> None:
    done = virc("doctor", "tiny")
    assert (done.code, done.err) == (0, "")
    for word in ("Python 3.", "cores", "GPUs          none", str(plain / "cache"), "sft-cpu", "not made", "telemetry"):
        assert word in done.out
    assert "tiny instruct\n  fits no overlay" in done.out


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


def test_a_gpu_of_this_machine_is_seen(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = plain / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 24100, 570.86, GPU-1, [N/A]'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{plain}{os.pathsep}/usr/bin{os.pathsep}/bin")
    done = virc("doctor", "--stage", "practice")
    assert "NVIDIA GeForce RTX 4090, 24.0 GiB (23.5 free), driver 570.86" in done.out


def test_wrong_names_are_one_sentence_with_the_right_name(plain: Path) -> None:
    for words, code, hint in (
        (["--stage", "practise"], 2, "practice"),
        (["vircc"], 3, "virc"),
        (["--stage", "practice", "--with", "1x24"], 2, "1x24g"),
        (["--stage", "practice", "--with", "1x24g,1x80g"], 3, "choose one"),
    ):
        done = virc("doctor", *words)
        assert (done.code, hint in done.err, "Traceback" in done.err) == (code, True, False)


def test_it_starts_without_torch_or_pillow(plain: Path) -> None:
    code = (
        "import sys; from virc_cli.main import main; main(['doctor', 'virc']); "
        "print([name for name in ('torch', 'PIL', 'numpy', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_rl_does_not_fit_24_gb_and_that_is_said() -> None:
    """Also where a judge would be missing: it could be elsewhere, and the stage would not fit all the same."""
    found = judged(machine(SMALL, memory=128), "rl")
    assert not any(each.fits for names, each in found.items() if "cpu" not in names)
    why = str(found["3b", "lora", "1x24g"].why)
    assert re.fullmatch(r"needs \d\d\.\d GiB a device, GPU 0 has 24\.0 GiB", why)


def test_rl_on_one_80_gb_gpu_wants_an_adapter_for_7b() -> None:
    found = judged(machine(LARGE, memory=256), "rl")
    assert found["7b", "lora", "1x80g"].fits
    assert found["7b", "1x80g"].helps == "add lora"


def test_the_published_rl_fits_one_node_with_its_judge_on_the_same_or_elsewhere() -> None:
    found = judged(machine(*[LARGE] * 8), "rl")
    assert found["7b", "judge-split"].fits
    assert found["7b", "judge-split"].needs.startswith("policy 4 + judge 4 GPUs with ")
    published = found["7b", "8x80g"]
    assert published.why == "needs policy 8 + judge 4 GPUs, here 8"
    assert "--judge-endpoint URL" in str(published.helps)
    assert judged(machine(*[LARGE] * 12), "rl")["7b", "8x80g"].fits


def test_a_model_alone_has_the_memory_it_takes(plain: Path) -> None:
    done = virc("doctor", "--model", "Qwen/Qwen2.5-VL-7B-Instruct", "--json")
    found = done.json["memory"]
    named = {part["name"]: part["size"] for part in found["parts"]}
    assert found["gib"] == pytest.approx(sum(named.values()) / 2**30)
    assert named["weights"] == 2 * 8_292_166_656
    assert named["keys and values"] == 2 * 28 * 512 * 2 * found["tokens"], "two, layers, width of the keys, bytes"
    printed = virc("doctor", "--model", "tiny").out
    assert "tiny, float32" in printed
    assert "keys and values: 32,768 tokens x 2,048 bytes" in printed
    assert virc("doctor", "--model", "nope").code == 3
