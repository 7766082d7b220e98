"""Stages of `tiny` in the real LLaMA-Factory, through `virc train`: losses, weights and signals, not exit codes."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support import held_engine, workspaces

from virc.models.registry import PACKAGE
from virc.runs.checkpoints import checkpoints
from virc.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

ROWS = 48
BASE = PACKAGE / "tiny-base"
STEPS = ("--set", "steps=10", "--set", "save_steps=4")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, ROWS)
    return folder


@pytest.fixture(scope="module")
def instruct(workspace: Path) -> Path:
    """A run of the first stage that nothing interrupted."""
    done = workspaces.run(workspace, "train", "tiny", "--stage", "instruct", *STEPS, cpu=workspace / "cpu")
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    assert run == workspace / "runs" / "tiny-instruct"
    return run


def test_the_first_stage_learns(instruct: Path) -> None:
    loss = workspaces.losses(instruct)
    assert list(loss) == list(range(1, 11))
    assert sum(loss[step] for step in (8, 9, 10)) < 0.8 * sum(loss[step] for step in (1, 2, 3))
    assert workspaces.state(instruct)["progress"] == "finished"


def test_the_loss_is_the_mean_of_the_means_of_micro_batches(tmp_path: Path) -> None:
    Image.radial_gradient("L").resize((224, 168)).save(tmp_path / "a.png")
    answers = ["Disk.", "The picture shows a disk, dark in the middle and bright outside. " * 6] * 8
    rows = [
        {
            "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": each}],
            "images": ["a.png"],
        }
        for each in answers
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first = {}
    for size in (1, 16):
        sets = workspaces.sets(
            {"steps": 1, "train_batch_size": 16, "micro_batch_size_per_device": size, "log_every": 1}
        )
        words = ("--stage", "instruct", "--data", "rows.jsonl", "--name", f"of{size}", *sets)
        done = workspaces.run(tmp_path, "train", "tiny", *words)
        assert done.returncode == 0, done.stderr
        first[size] = workspaces.losses(Path(done.stdout.strip()))[1]
    assert first[1] < 0.95 * first[16]  # short answers, of the smaller loss, weigh as much as long ones


def test_a_cpu_computes_in_float32_and_what_is_frozen_stays_as_it_was(instruct: Path) -> None:
    import torch
    from safetensors.torch import load_file

    before = load_file(BASE / "model.safetensors")
    after = load_file(instruct / "checkpoints" / "checkpoint-10" / "model.safetensors")
    assert {weight.dtype for weight in before.values()} == {torch.bfloat16}
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    same = {name for name, weight in before.items() if (weight.float() == after[name]).all()}
    assert same >= {name for name in before if "visual" in name}
    assert not same >= {name for name in before if "layers" in name}


def test_a_run_killed_and_stopped_and_resumed_is_the_run_that_nothing_interrupted(
    instruct: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_engine.hold_at("os.mkdir:checkpoint-8", tmp_path, monkeypatch)
    run = workspace / "runs" / "again"
    first = workspaces.start(workspace, "train", "tiny", "--stage", "instruct", *STEPS, "--name", "again")
    workspaces.until_step(first, run, 8)
    workspaces.kill_all(first, run)
    assert "died" in workspaces.run(workspace, "runs", "ls").stdout

    second = workspaces.start(workspace, "train", "--resume", "--name", "again")
    workspaces.until_step(second, run, 8, attempt=2)
    second.send_signal(signal.SIGTERM)
    said = second.communicate()[1]
    assert second.returncode == 143, said
    assert "resuming from step 4" in said
    assert workspaces.state(run)["progress"] == "stopped"
    assert workspaces.state(run)["step"] == 9
    assert "saved at step 9" in said

    third = workspaces.run(workspace, "train", "--resume", "--name", "again")
    assert third.returncode == 0, third.stderr
    assert "resuming from step 9" in third.stderr
    assert workspaces.losses(run) == workspaces.losses(instruct)
    found, wanted = (workspaces.weights(each, 10) for each in (run, instruct))
    assert workspaces.same(found, wanted)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_two_processes_share_the_optimizer_save_when_their_launcher_is_killed_and_go_on(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_engine.hold_at("os.mkdir:checkpoint-3", tmp_path, monkeypatch)
    steps = ("--set", "steps=30", "--set", "save_steps=3", "--set", "learning_rate=1e-3", "--name", "orphans")
    process = workspaces.start(workspace, "train", "tiny", "--stage", "instruct", "--with", "2x", *steps)
    run = Run(workspace / "runs" / "orphans")
    workspaces.until_step(process, run.folder, 3)
    workspaces.kill_all(process, run.folder)
    until(lambda: len(checkpoints(run)) == 2)
    saved = checkpoints(run)[-1]
    assert saved.step == 4
    assert len(list(saved.folder.glob("global_step*/*zero_pp_rank_*_optim_states.pt"))) == 2
    done = workspaces.run(workspace, "train", "--resume", "--name", "orphans")
    assert done.returncode == 0, done.stderr
    assert "resuming from step 4" in done.stderr
    loss = workspaces.losses(run.folder)
    assert loss[3] < loss[1]
    assert loss[5] < loss[1]
    assert len(loss) == 30


def test_two_processes_learn_what_one_learns_with_twice_the_accumulation(workspace: Path, instruct: Path) -> None:
    """Of each batch of 16 they take 4 rows at a time: two processes twice, one four times."""
    run = workspaces.trained(workspace, "tiny", "instruct", "--with", "2x", *STEPS, "--name", "shared")
    one, two = workspaces.losses(instruct), workspaces.losses(run)
    assert list(two) == list(one)
    for step in one:
        assert two[step] == pytest.approx(one[step], rel=1e-3), (one, two)
