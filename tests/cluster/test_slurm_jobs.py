"""Runs of `tiny` in jobs of a real Slurm with two nodes: how they start, save, go back into the queue, and end."""

from collections.abc import Iterator

import pytest
import slurm_workspace
from slurm_workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with slurm_workspace.workspace(tmp_path_factory.mktemp("workspace")) as found:
        yield found


@pytest.fixture
def workspace(shared: Workspace) -> Iterator[Workspace]:
    """The workspace, on a cluster without jobs."""
    yield shared
    shared.slurm.clear()


def test_a_submitted_run_finishes_and_its_job_ends_with_0(workspace: Workspace) -> None:
    job = workspace.submit("whole")
    job.completed()
    assert sorted(job.losses) == [1, 2]
    assert (job.state["progress"], job.state["attempt"], job.state["job"]) == ("finished", 1, job.id)
