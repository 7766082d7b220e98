"""`virc runs extend`: the new end, the rates on the way there, other devices, and what a run keeps of it."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.called import virc

from virc.core.errors import ConfigError, SetupError, UsageError
from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training import extend as extending
from virc.training.extend import extend

GPUS: dict[str, Any] = {"device": "cuda", "devices": 4, "train_batch_size": 8, "micro_batch_size_per_device": 1}


def make_run(folder: Path, settings: Mapping[str, Any], stage: str = "instruct", step: int = 6, **state: Any) -> Run:
    run = Run(folder / "runs" / "mine")
    config = msgspec.to_builtins(stages.resolve(systems.get("tiny"), stage, []).config)
    usual = {"train_batch_size": 4, "ppo_mini_batch_size": 4} if stage == "rl" else {"train_batch_size": 4}
    config |= usual | {"steps": None} | dict(settings)
    about = Info(
        name="mine", system="tiny", stage=stage, kind="rl" if stage == "rl" else "sft",
        created="2026-01-01T00:00:00+00:00", base=str(EMBEDDED_FOLDER), root="tiny", data="rows.json", dataset="rows",
        rows=24, longest=9, settings=config, origins={"epochs": "--set"}, environment="sft-cpu", device="cpu",
        python=sys.executable, recipes="recipes",
    )  # fmt: skip
    saved = run.checkpoints / (f"global_step_{step}/actor" if stage == "rl" else f"checkpoint-{step}")
    saved.mkdir(parents=True)
    if stage == "rl":
        _write_shards(saved)
    else:
        for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
            shutil.copy(EMBEDDED_FOLDER / name, saved)
        (saved / "scheduler.pt").touch()
        (saved / "trainer_state.json").write_text("{}")
    (run.folder / "run.json").write_bytes(msgspec.json.encode(about))
    (run.folder / "settings.yaml").write_text(
        "# tiny\n" + "".join(f"{k}: {json.dumps(v)}\n" for k, v in config.items())
    )
    runs.write_state(run, **{"progress": "finished", "step": step, "total": 6, "attempt": 1, **state})
    return run


def _write_shards(actor: Path) -> None:
    import zipfile

    (actor / "fsdp_config.json").write_text('{"world_size": 1}')
    for kind in ("model", "optim", "extra_state"):
        with zipfile.ZipFile(actor / f"{kind}_world_size_1_rank_0.pt", "w") as file:
            file.writestr("a", "b")
    (actor / "huggingface").mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(EMBEDDED_FOLDER / name, actor / "huggingface")
    (actor.parent / "data.pt").touch()
    (actor.parents[1] / "latest_checkpointed_iteration.txt").write_text(actor.parent.name.rpartition("_")[2])


@pytest.mark.parametrize(
    ("stage", "settings", "asked", "total", "changed"),
    [
        ("instruct", {}, {"epochs": 2}, 12, {"epochs": 2.0, "warmup_ratio": 0.025}),
        ("instruct", {"warmup_ratio": 0}, {"epochs": 1.5}, 9, {"epochs": 1.5}),
        ("instruct", {"warmup_ratio": 0.5}, {"steps": 30}, 30, {"steps": 30, "warmup_ratio": 0.1}),
        ("instruct", {"warmup_ratio": 0, "steps": 6}, {"epochs": 4}, 24, {"steps": None, "epochs": 4.0}),
        ("instruct", {"warmup_ratio": 0, "steps": 6}, {"steps": 7}, 7, {"steps": 7}),
        ("instruct", {**GPUS, "gpus": [4, 5, 6, 7]}, {"devices": 2}, 6, {"devices": 2, "gpus": None}),
        ("instruct", GPUS, {"devices": 4}, 6, {}),
        ("instruct", {**GPUS, "gpus": [4, 5, 6, 7]}, {"devices": 4}, 6, {"gpus": None}),
        ("instruct", {"warmup_ratio": 0, **GPUS}, {"devices": 8, "steps": 9}, 9, {"devices": 8, "steps": 9}),
        ("rl", {"warmup_ratio": 0}, {"epochs": 3}, 18, {"epochs": 3}),
        ("rl", {"warmup_ratio": 0}, {"steps": 8}, 8, {"steps": 8}),
    ],
)  # fmt: skip
def test_a_run_gets_a_new_end_and_keeps_what_it_was(
    tmp_path: Path, stage: str, settings: dict[str, Any], asked: dict[str, Any], total: int, changed: dict[str, Any]
) -> None:
    run = make_run(tmp_path, settings, stage, progress="stopped")
    before = (run.folder / "run.json").read_bytes(), runs.info(run)
    trial = extend(run, **asked, trial=True)
    assert ((run.folder / "run.json").read_bytes(), runs.state(run).progress) == (before[0], "stopped")
    found = extend(run, **asked)
    assert found == trial
    assert (found.step, found.before, found.total) == (6, 6, total)
    assert found.changed == pytest.approx(changed)
    info, state = runs.info(run), runs.state(run)
    assert info.settings == {**before[1].settings, **found.changed}
    assert (state.progress, state.step, state.total) == ("stopped", 6, total)
    written = yaml.safe_load((run.folder / "settings.yaml").read_text())
    assert {name: written[name] for name in found.changed} == found.changed
    for name in found.changed:
        assert info.origins[name] == f"virc runs extend at step 6, {json.dumps(before[1].settings[name])} before"


@pytest.mark.parametrize(
    ("stage", "settings", "state", "asked", "said", "hint"),
    [
        ("instruct", {}, {}, {}, "how is the run to go on?", "--epochs N or --steps N"),
        ("instruct", {}, {}, {"epochs": 2, "steps": 9}, "how is the run to go on?", "--epochs N or --steps N"),
        ("instruct", GPUS, {}, {"devices": 2}, "mine has finished", "--epochs N or --steps N for a later end"),
        ("instruct", {}, {}, {"epochs": 1}, "ends at step 6, and the new end would be step 6", "a later end"),
        ("instruct", {}, {}, {"steps": 5}, "the new end would be step 5", "a later end"),
        ("instruct", {}, {"total": 9}, {"epochs": 2}, "engine counts 9 steps, and the rows would be 6", "--steps N"),
        ("rl", {}, {}, {"epochs": 1.5}, "mine cannot go on so: expected `int`, got `float`", None),
        ("rl", {}, {}, {"devices": 2}, "verl resumes on as many devices as saved: 1 a node",
         "virc merge mine, then virc "
         "train tiny --stage rl --from the folder that it prints --config runs/mine/settings.yaml --set devices=2"),
        ("instruct", {**GPUS, "zero": 3}, {}, {"devices": 2}, "DeepSpeed resumes on as many devices as saved: 4 a node",
         "virc train tiny --stage instruct --from mine --config runs/mine/settings.yaml --set devices=2 starts"),
        ("instruct", {**GPUS, "zero": 3, "gpus": [0, 1, 2, 3]}, {}, {"devices": 2}, "DeepSpeed resumes on as many",
         "--set devices=2 --set gpus=null starts a new run"),
        ("instruct", GPUS, {}, {"devices": 3}, "train_batch_size 8 is no multiple of the 3 rows", "another number"),
        ("instruct", {"train_batch_size": 8}, {}, {"devices": 2}, "several processes on CPUs cannot be", "another"),
    ],
)  # fmt: skip
def test_what_cannot_go_on_so_is_refused_with_a_way(
    tmp_path: Path, stage: str, settings: dict[str, Any], state: dict[str, Any], asked: dict[str, Any], said: str,
    hint: str | None,
) -> None:  # fmt: skip
    run = make_run(tmp_path, settings, stage, **({} if "finished" in said else {"progress": "stopped"}), **state)
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises((ConfigError, UsageError)) as refused:
        extend(run, **asked)
    assert said in refused.value.message
    assert (hint or "") in (refused.value.hint or "")
    assert (run.folder / "run.json").read_bytes() == before


def test_a_run_that_runs_or_saved_nothing_is_not_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, {})
    runs.write_state(run, progress="running", **runs.this_process())
    with pytest.raises(ConfigError, match="mine is running or queued"):
        extend(run, epochs=2)
    runs.write_state(run, progress="stopped")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "engine_lives", lambda _: True)
        with pytest.raises(ConfigError, match="mine is running or queued"):
            extend(run, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(extending.queue, "job_of", lambda *_: (None, "squeue is not on this machine"))
        with pytest.raises(ConfigError, match="squeue is not on this machine"):
            extend(run, epochs=2)
    (run.checkpoints / "checkpoint-6" / "scheduler.pt").unlink()
    with pytest.raises(ConfigError, match="mine has no checkpoint to go on from"):
        extend(run, epochs=2)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [  # measured with LLaMA-Factory on `tiny`: 0.0000955 at step 6, 0.000429 at step 8, 0.0000203 at step 12
        ("cosine", (0.0000954915, 0.000428843, 0.0000202535)),
        ("linear", (0.001 / 5, 0.001 * 5 / 11, 0.001 / 11)),
        ("constant", None),
    ],
)
def test_the_rates_are_those_that_transformers_takes(tmp_path: Path, schedule: str, rates: tuple[float, ...]) -> None:
    run = make_run(tmp_path, {"schedule": schedule, "learning_rate": 0.001, "warmup_ratio": 0.05})
    found = extend(run, epochs=2, trial=True).rates
    assert found == (rates if rates is None else pytest.approx(rates, rel=1e-5))


def test_a_run_that_goes_on_within_its_warm_up_still_climbs(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"schedule": "linear", "learning_rate": 0.001, "warmup_ratio": 0.5}, step=1)
    # of 3 steps of warm-up two are done at the first, then 9 fall
    assert extend(run, epochs=2, trial=True).rates == pytest.approx((0.001 / 3, 0.001 * 2 / 3, 0.001 / 9))


@pytest.mark.parametrize(
    ("stage", "settings", "here", "hint"),
    [
        ("instruct", GPUS, 4, None),
        ("instruct", GPUS, 8, None),
        ("instruct", {"devices": 1}, 0, None),
        ("instruct", GPUS, 3, "virc runs extend mine --devices 2"),
        ("instruct", {**GPUS, "devices": 1, "gpus": [5]}, 2, "virc runs extend mine --devices 1"),
        ("instruct", {**GPUS, "zero": 3}, 2, "virc train tiny --stage instruct --from mine --config"),
        (
            "rl",
            {"device": "cuda", "devices": 2},
            1,
            "virc merge mine, then virc train tiny --stage rl --from the folder",
        ),
        ("instruct", GPUS, 0, "virc doctor says what fits here"),
    ],
)
def test_a_run_on_fewer_gpus_is_told_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, settings: dict[str, Any], here: int, hint: str | None
) -> None:
    run = make_run(tmp_path, settings, stage)
    program = tmp_path / "nvidia-smi"
    lines = "".join(f"A100, 81920, 81000, 550.54, GPU-{number}, Disabled\\n" for number in range(here))
    program.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SetupError) if hint else nullcontext() as refused:
        extending.refuse_few_gpus(run)
    assert hint is None or hint in str(refused.value.hint)


def test_a_trial_prints_the_new_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, {"learning_rate": 0.001})
    done = virc("runs", "extend", "mine", "--epochs", "2", "--dry-run")
    assert done.out.splitlines() == [
        "mine continues from step 6 to step 12, in place of 6", "warmup_ratio: 0.025", "epochs: 2.0",
        "learning rate: 9.55e-05 at the old end, 0.000429 at step 8, 2.03e-05 at the new end",
    ]  # fmt: skip
    refused = virc("runs", "extend", "mine", "--steps", "3")
    assert (refused.code, "a later end" in refused.err) == (3, True)
