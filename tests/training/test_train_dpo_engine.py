"""Stage `dpo` of `tiny` in the real LLaMA-Factory, through `virc train`: losses, margins and weights."""

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from support import held_engine, preference_rows, workspaces
from support.engine_python import interpreter

import virc

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

CHILD = Path(__file__).parents[1] / "engines" / "llamafactory" / "preferences_child.py"
SETTINGS = {"train_batch_size": 4, "micro_batch_size_per_device": 4, "learning_rate": 3e-4, "warmup_ratio": 0}
MPO = {"engine.pref_ftx": 0.5, "engine.pref_bco_weight": 1, "steps": 5, "save_steps": 3, **SETTINGS}
PAIRS = "data/polygons/pairs.jsonl"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, 24)
    preference_rows.write(folder / "data" / "polygons")
    preference_rows.write(folder / "data" / "polygons", "swapped", swapped=True)
    return folder


def trained(workspace: Path, name: str, *words: str, data: str = PAIRS, **settings: object) -> Path:
    words = ("--from", "tiny", "--data", data, "--name", name, *words)
    return workspaces.trained(workspace, "tiny", "dpo", *words, **{**SETTINGS, "steps": 2, "save_steps": 2, **settings})


@pytest.fixture(scope="module")
def straight(workspace: Path) -> Path:
    return trained(workspace, "straight", steps=6, save_steps=6)


@pytest.fixture(scope="module")
def mpo(workspace: Path) -> Path:
    return trained(workspace, "mpo", **MPO)


def measured(run: Path, name: str) -> list[float]:
    return list(workspaces.losses(run, name).values())


def test_the_loss_begins_at_ln_2_and_the_margin_rises(straight: Path) -> None:
    loss, margin = measured(straight, "loss"), measured(straight, "margin")
    assert loss[0] == pytest.approx(math.log(2), abs=1e-6)
    assert margin[0] == 0  # the model is its own reference
    assert margin[-1] > margin[2] / 2 > 0
    assert loss[-1] < 0.68
    chosen, rejected = measured(straight, "chosen_reward"), measured(straight, "rejected_reward")
    assert [one - other for one, other in zip(chosen, rejected, strict=True)] == pytest.approx(margin, abs=1e-5)
    assert rejected[-1] < 0
    assert measured(straight, "accuracy")[-1] == 1
    assert "margin" in workspaces.run(straight.parents[1], "runs", "tail", straight.name).stdout


def test_a_killed_run_of_mpo_resumes_to_the_same_weights(
    mpo: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = held_engine.hold_at("os.mkdir:checkpoint-5", tmp_path, monkeypatch)
    words = ("--from", "tiny", "--data", PAIRS, "--name", "again", *workspaces.sets(MPO))
    process = workspaces.start(workspace, "train", "tiny", "--stage", "dpo", *words)
    run = workspace / "runs" / "again"
    workspaces.until_step(process, run, 5)
    workspaces.kill_all(process, run)
    hold.off()
    done = workspaces.run(workspace, "train", "--resume", "--name", "again")
    assert done.returncode == 0, done.stderr
    assert "resuming from step 3" in done.stderr, done.stderr
    for name in ("loss", "margin", "chosen_reward"):
        assert workspaces.losses(run, name) == workspaces.losses(mpo, name)
    assert workspaces.same(workspaces.weights(run, 5), workspaces.weights(mpo, 5))


def test_kto_learns_replies_one_by_one_and_is_given_positions(workspace: Path) -> None:
    run = trained(workspace, "kto", loss="kto")
    assert measured(run, "loss")[0] == pytest.approx(0.5, abs=1e-6)  # 1 - sigmoid(0)
    assert measured(run, "chosen_reward")[0] == 0
    assert not measured(run, "accuracy")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = str(Path(virc.__file__).parents[1])
    argv = [str(interpreter("sft")), str(CHILD), str(run / "logs" / "attempt_1" / "engine.yaml")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"] < 1e-3
    assert found["as published"] > 0.1
    assert found["kl"]


def test_an_adapter_of_orpo_is_merged_and_answers(workspace: Path) -> None:
    run = trained(workspace, "orpo", "--with", "lora", loss="orpo")
    assert all(map(math.isfinite, measured(run, "loss")))
    merged = workspaces.run(workspace, "merge", "orpo")
    assert merged.returncode == 0, merged.stderr
    problems = workspace / "data" / "polygons" / "trajectories.json"
    row = json.loads(problems.read_text())[0]
    picture = str(problems.parent / row["images"][0])
    solved = workspaces.run(workspace, "solve", picture, row["question"], "--model", merged.stdout.strip())
    assert solved.returncode == 0, solved.stderr
    assert solved.stdout.strip()
