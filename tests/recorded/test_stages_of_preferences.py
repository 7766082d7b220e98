"""The stages of kind `dpo` in the real LLaMA-Factory, on `tiny` and drawn pairs. What ran is recorded."""

from pathlib import Path

import pytest
from support import preference_rows, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

SETTINGS = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1}


def test_tiny_learns_from_pairs(tmp_path: Path) -> None:
    workspaces.synth(tmp_path, 8)
    file = preference_rows.write(tmp_path / "data" / "polygons")
    words = ("--from", "tiny", "--data", str(file.relative_to(tmp_path)))
    run = workspaces.trained(tmp_path, "tiny", "dpo", *words, **SETTINGS)
    assert workspaces.losses(run, "margin")[1] == 0
    tested.ran(run, "pairs")
