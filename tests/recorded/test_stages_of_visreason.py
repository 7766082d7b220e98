"""Both rounds of VisReason in LLaMA-Factory, on `tiny` and conversations in its words. What ran is recorded."""

import math
from pathlib import Path

import pytest
from support import tested, tool_rows, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SFT = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1,
       "trackers": "[]"}  # fmt: skip


@pytest.mark.parametrize("stage", ["instruct", "pro"])
def test_an_adapter_learns_to_look_closer(stage: str, tmp_path: Path) -> None:
    rows = tool_rows.visreason(tmp_path / "data" / "trajectories").relative_to(tmp_path)
    run = workspaces.trained(
        tmp_path, "visreason", stage, "--with", "cpu", "--from", "tiny", "--data", str(rows), **SFT
    )
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    adapter = workspaces.weights(run, 2, "adapter_model.safetensors")
    assert any(weight.any() for name, weight in adapter.items() if "lora_B" in name)  # they begin at zero
    assert not any("visual.blocks" in name for name in adapter)
    tested.ran(run, "sft")
