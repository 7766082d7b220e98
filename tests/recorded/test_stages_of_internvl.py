"""MPO of InternVL3.5 in the real LLaMA-Factory, on `tiny` and rows as they are published. What ran is recorded."""

import math
from pathlib import Path

import pytest
from support import published_pairs, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

SETTINGS = {"steps": 2, "save_steps": 2, "train_batch_size": 3, "micro_batch_size_per_device": 1}
AT_THE_START = 0.8 * math.log(2) + 0.2 * 2 * math.log(2)  # of DPO, and of both sides of BCO


def test_the_losses_of_mpo_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    file = published_pairs.mmpr(tmp_path / "hub")
    words = ("--format", "pairs", "--to", "data/internvl3.5", "--name", "mmpr")
    done = workspaces.run(tmp_path, "data", "convert", str(file), *words)
    assert done.returncode == 0, done.stderr
    run = workspaces.trained(tmp_path, "internvl3.5", "mpo", "--from", "tiny", "--with", "cpu", **SETTINGS)
    assert workspaces.losses(run, "margin")[1] == 0
    supervised = workspaces.losses(run)[1] - AT_THE_START
    assert supervised > 1  # tiny never wrote such a reply
    tested.ran(run, "mmpr")
