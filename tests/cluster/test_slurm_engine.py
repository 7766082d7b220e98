"""`virc train --launcher slurm` with the real engines in a real Slurm: LLaMA-Factory on two nodes, verl on one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_workspace
from slurm_workspace import Job, Workspace
from support import held_engine, workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PATIENCE = 900.0
LATE = """\
kill() { # the engine of the second node is asked to save some seconds after that of the first
    [ "$SLURM_NODEID" = 1 ] && [ "$1" = -s ] && sleep 5
    builtin kill "$@"
}
"""
SPREAD = {"nodes": 2, "zero": 3, "steps": 8, "save_steps": 4}
RL = {
    "steps": 2, "train_batch_size": 4, "ppo_mini_batch_size": 4, "micro_batch_size_per_device": 4, "n": 2,
    "save_steps": 1, "rollouts": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with slurm_workspace.workspace(tmp_path_factory.mktemp("workspace")) as found:
        late = found.folder / "late.sh"
        late.write_text(LATE)
        (found.folder / "site.yaml").write_text(f"time: 1:00:00\nshared: [/]\nsetup: export BASH_ENV={late}\n")
        workspaces.synth(found.folder, 40, "sft,rl")
        yield found


@pytest.fixture
def workspace(shared: Workspace) -> Iterator[Workspace]:
    """The workspace, on a cluster without jobs."""
    yield shared
    shared.slurm.clear()


def over(job: Job) -> None:
    job.until_state("COMPLETED", patience=PATIENCE)
    assert job.state["progress"] == "finished", job.said()


def test_a_job_told_to_end_goes_on_to_the_weights_of_one_that_was_not(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = workspace.submit("whole", "instruct", **SPREAD)
    over(whole)
    assert sorted(whole.losses) == list(range(1, 9))

    held_engine.hold_at("os.mkdir:checkpoint-4", tmp_path, monkeypatch)
    cut = workspace.submit("cut", "instruct", **SPREAD)
    cut.until_step(4)
    workspace.slurm.notify(cut.id)
    cut.released()
    over(cut)
    assert "resuming from step 5" in cut.log
    assert {path.name for path in (cut.run / "checkpoints").glob("checkpoint-*")} == {
        "checkpoint-4", "checkpoint-5", "checkpoint-8",
    }  # fmt: skip
    assert cut.losses == whole.losses
    assert workspaces.same(workspaces.weights(cut.run, 8), workspaces.weights(whole.run, 8))
    assert (cut.state["attempt"], cut.state["job"]) == (2, cut.id)


def test_a_stage_of_rl_is_one_job(workspace: Workspace) -> None:
    job = workspace.submit("learnt", "rl", "--from", "tiny", **RL)
    over(job)
    assert sorted(workspaces.losses(job.run, "reward")) == [1, 2]
    assert workspace.slurm.exit_code(job.id) == "0:0"
    assert "Ctrl-C" not in job.log
