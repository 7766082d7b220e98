"""One step of SFT in the real LLaMA-Factory, merged and asked: what the merge gate sees of training."""

import json
from pathlib import Path

import pytest
from support import workspaces

from virc.models.registry import PACKAGE

pytestmark = [pytest.mark.engine, pytest.mark.smoke, pytest.mark.timeout(600)]


OF_OTHERS = {
    "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "29500", "MV2_COMM_WORLD_RANK": "1",
    "MV2_COMM_WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "USE_RAY": "1", "SLURM_PROCID": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, 32)
    return folder


def test_a_run_that_diverges_fails_and_offers_no_model(workspace: Path) -> None:
    words = ("--stage", "instruct", "--name", "diverges", *workspaces.sets({"learning_rate": 1e30, "steps": 3}))
    done = workspaces.run(workspace, "train", "tiny", *words)
    assert done.returncode == 7, done.stderr
    assert "training diverged: the " in done.stderr
    assert "lower learning_rate" in done.stderr
    assert "virc solve" not in done.stderr + done.stdout
    run = workspace / "runs" / "diverges"
    assert workspaces.state(run)["progress"] == "failed"
    assert not list((run / "checkpoints").glob("checkpoint-*"))


def test_one_step_is_merged_and_asked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    for name, value in OF_OTHERS.items():
        monkeypatch.setenv(name, value)  # as in a shell of a job: the engine would wait for its peers
    run = workspaces.trained(workspace, "tiny", "instruct", steps=1, save_steps=1, learning_rate=1e-3, warmup_ratio=0)
    assert 0 < workspaces.losses(run)[1] < 20
    done = workspaces.run(workspace, "merge", run.name)
    assert done.returncode == 0, done.stderr
    merged = workspace / done.stdout.strip()

    before, after = load_file(PACKAGE / "tiny-base" / "model.safetensors"), load_file(merged / "model.safetensors")
    trained = workspaces.weights(run, 1)
    same = {name for name in after if (before[name].float() == after[name].float()).all()}
    assert {name for name in after if "visual" in name} <= same
    assert not any(name.endswith("mlp.down_proj.weight") and "visual" not in name for name in same)
    assert all((weight.to(after[name].dtype) == after[name]).all() for name, weight in trained.items())

    picture = next((workspace / "data" / "polygons").rglob("*.png"))
    words = ("--model", merged.name, "--device", "cpu", "--trace", "t")
    asked = workspaces.run(workspace, "solve", str(picture), "How large is angle A?", *words)
    assert asked.returncode in {0, 8}, asked.stderr
    trace = json.loads((workspace / "t" / "trace.json").read_text())
    assert (trace["model"], trace["protocol"]["name"]) == (merged.name, "trained")
