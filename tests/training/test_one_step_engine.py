"""One step of SFT in the real LLaMA-Factory, merged and asked: what the merge gate sees of training."""

import json
from pathlib import Path

import pytest
from support import workspaces

from virc.models.registry import PACKAGE

pytestmark = [pytest.mark.engine, pytest.mark.smoke, pytest.mark.timeout(600)]


def test_one_step_is_merged_and_asked(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    workspaces.synth(tmp_path, 32)
    run = workspaces.trained(tmp_path, "tiny", "instruct", steps=1, save_steps=1, learning_rate=1e-3, warmup_ratio=0)
    assert 0 < workspaces.losses(run)[1] < 20
    done = workspaces.run(tmp_path, "merge", run.name)
    assert done.returncode == 0, done.stderr
    merged = tmp_path / done.stdout.strip()

    before, after = load_file(PACKAGE / "tiny-base" / "model.safetensors"), load_file(merged / "model.safetensors")
    trained = workspaces.weights(run, 1)
    same = {name for name in after if (before[name].float() == after[name].float()).all()}
    assert {name for name in after if "visual" in name} <= same
    assert not any(name.endswith("mlp.down_proj.weight") and "visual" not in name for name in same)
    assert all((weight.to(after[name].dtype) == after[name]).all() for name, weight in trained.items())

    picture = next((tmp_path / "data" / "polygons").rglob("*.png"))
    words = ("--model", merged.name, "--device", "cpu", "--trace", "t")
    asked = workspaces.run(tmp_path, "solve", str(picture), "How large is angle A?", *words)
    assert asked.returncode in {0, 8}, asked.stderr
    trace = json.loads((tmp_path / "t" / "trace.json").read_text())
    assert (trace["model"], trace["protocol"]["name"]) == (merged.name, "trained")
