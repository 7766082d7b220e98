"""Both rounds of VisReason in LLaMA-Factory, on `tiny` and conversations in its words. What ran is recorded."""

from pathlib import Path

import pytest
from recorded import recording
from support import tested, tool_rows, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("stage", ["instruct", "pro"])
def test_an_adapter_learns_to_look_closer(stage: str, tmp_path: Path) -> None:
    rows = tool_rows.visreason(tmp_path / "data" / "trajectories").relative_to(tmp_path)
    run = workspaces.trained(
        tmp_path, "visreason", stage, "--with", "cpu", "--from", "tiny", "--data", str(rows), **recording.SFT
    )
    recording.assert_learnt(run)
    adapter = workspaces.weights(run, 2, "adapter_model.safetensors")
    assert not any("visual.blocks" in name for name in adapter)
    tested.ran(run, "sft")
