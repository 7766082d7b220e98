"""The stages of kind `dpo` in the real LLaMA-Factory, on `tiny` and pairs as they are published or drawn.

What ran is recorded.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from support import preference_rows, published_pairs, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

SETTINGS = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1}
OF_MPO = 0.8 * math.log(2) + 0.2 * 2 * math.log(2)  # of DPO, and of both sides of BCO


def test_tiny_learns_from_pairs(tmp_path: Path) -> None:
    workspaces.synth(tmp_path, 8)
    file = preference_rows.write(tmp_path / "data" / "polygons")
    words = ("--from", "tiny", "--data", str(file.relative_to(tmp_path)))
    run = workspaces.trained(tmp_path, "tiny", "dpo", *words, **SETTINGS)
    assert workspaces.losses(run, "margin")[1] == 0
    tested.ran(run, "pairs")


def converted(workspace: Path, write: Callable[[Path], Path], system: str, name: str) -> None:
    """Pairs as they are on the hub, as the stage of a system reads them."""
    (workspace / "hub").mkdir()
    words = ("--format", "pairs", "--to", f"data/{system}", "--name", name)
    done = workspaces.run(workspace, "data", "convert", str(write(workspace / "hub")), *words)
    assert done.returncode == 0, done.stderr


def test_the_critic_of_critic_v_learns_which_critique_is_better(tmp_path: Path) -> None:
    converted(tmp_path, published_pairs.critique_vqa, "critic-v", "critiques")
    run = workspaces.trained(tmp_path, "critic-v", "critic", "--from", "tiny", "--with", "cpu", **SETTINGS)
    assert workspaces.losses(run, "margin")[1] == 0
    assert workspaces.losses(run)[1] == pytest.approx(math.log(2), abs=1e-5)
    tested.ran(run, "critique-vqa")


def test_the_losses_of_mpo_are_added_up(tmp_path: Path) -> None:
    """Of InternVL3.5."""
    converted(tmp_path, published_pairs.mmpr, "internvl3.5", "mmpr")
    settings = SETTINGS | {"train_batch_size": 3}
    run = workspaces.trained(tmp_path, "internvl3.5", "mpo", "--from", "tiny", "--with", "cpu", **settings)
    assert workspaces.losses(run, "margin")[1] == 0
    assert workspaces.losses(run)[1] - OF_MPO > 1  # the supervised part: tiny never wrote such a reply
    tested.ran(run, "mmpr")
