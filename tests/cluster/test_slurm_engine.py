"""`virc train --launcher slurm` with the real LLaMA-Factory: two nodes, which are addresses of this machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from support import workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PATIENCE = 900.0
STAGE = (
    *("train", "tiny", "--stage", "instruct", "--launcher", "slurm", "--site", "site.yaml"),
    *("--set", "nodes=2", "--set", "zero=3", "--set", "steps=10", "--set", "save_steps=1000"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace on a cluster that tells the second node of a signal a second after the first."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "spool").mkdir()
    (folder / "site.yaml").write_text('account: geometry\ntime: "1:00:00"\nshared: [/]\n')
    workspaces.synth(folder, 40)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm_cluster.environment(folder / "spool").items():
            patch.setenv(name, value)
        patch.setenv("SLURM_STUB_DELAY", "1.0")
        yield folder


def submit(cluster: Path, name: str) -> tuple[Path, str]:
    """Begin a run; returns its folder and its job."""
    done = workspaces.run(cluster, *STAGE, "--name", name)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    return run, str(workspaces.state(run)["job"])


def said(run: Path) -> str:
    """The ends of all that a job wrote."""
    return "".join(path.read_text()[-3000:] for path in (run / "logs").rglob("*.log"))


def over(cluster: Path, run: Path, job: str) -> str:
    """What the job's script wrote, once it is over."""
    assert slurm_cluster.ended(cluster / "spool", job, lambda: said(run), PATIENCE) == 0, said(run)
    return (run / "logs" / f"slurm-{job}.log").read_text()


def test_a_job_told_to_end_goes_on_to_the_losses_of_one_that_was_not(cluster: Path) -> None:
    whole, job = submit(cluster, "whole")
    over(cluster, whole, job)
    assert sorted(workspaces.losses(whole)) == list(range(1, 11))

    cut, job = submit(cluster, "cut")
    slurm_cluster.until(lambda: max(workspaces.losses(cut), default=0) >= 3, lambda: said(cut), PATIENCE)
    slurm_cluster.tell(cluster / "spool", job)
    log = over(cluster, cut, job)
    step = re.search(r"resuming from step (\d+)", log)
    assert step, log
    assert 3 < int(step[1]) < 10
    assert {path.name for path in (cut / "checkpoints").iterdir()} == {f"checkpoint-{step[1]}", "checkpoint-10"}
    assert workspaces.losses(cut) == workspaces.losses(whole)
    state = workspaces.state(cut)
    assert (state["progress"], state["attempt"], state["job"]) == ("finished", 2, job)
