"""The critic of Critic-V in the real LLaMA-Factory, on `tiny` and rows as they are on the hub. What ran is recorded."""

import math
from pathlib import Path

import pytest
from support import published_pairs, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

SETTINGS = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1}


def test_the_critic_learns_which_critique_is_better(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    file = published_pairs.critique_vqa(tmp_path / "hub")
    words = ("--format", "pairs", "--to", "data/critic-v", "--name", "critiques")
    done = workspaces.run(tmp_path, "data", "convert", str(file), *words)
    assert done.returncode == 0, done.stderr
    run = workspaces.trained(tmp_path, "critic-v", "critic", "--from", "tiny", "--with", "cpu", **SETTINGS)
    assert workspaces.losses(run, "margin")[1] == 0
    assert workspaces.losses(run)[1] == pytest.approx(math.log(2), abs=1e-5)
    tested.ran(run, "critique-vqa")
