"""Runs of `tiny` in jobs of a real Slurm with two nodes: how they start, save, go back into the queue, and end."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import slurm_workspace
from real_slurm import CORES, NODES
from slurm_workspace import Job, Workspace

from virc.core.processes import start_time
from virc.runs import attempts
from virc.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with slurm_workspace.workspace(tmp_path_factory.mktemp("workspace")) as found:
        yield found


@pytest.fixture
def workspace(shared: Workspace) -> Iterator[Workspace]:
    """The workspace, on a cluster without jobs."""
    yield shared
    shared.slurm.clear()


def finished(job: Job, steps: int, attempts: int) -> None:
    """A job's run has done each step once."""
    assert (job.progress, job.state["attempt"]) == ("finished", attempts), job.said()
    assert sorted(job.losses) == list(range(1, steps + 1))
    assert job.weights == slurm_workspace.weights(steps)


def test_a_submitted_run_finishes_and_its_job_ends_with_0(workspace: Workspace) -> None:
    job = workspace.submit_toy("whole")
    job.completed()
    finished(job, 3, attempts=1)
    assert job.state["job"] == job.id


def test_before_its_time_is_over_a_job_saves_requeues_and_resumes(workspace: Workspace) -> None:
    job = workspace.submit_toy("limited", steps=10, held=[3])
    job.until_step(3)
    workspace.slurm.run("scontrol", "update", f"JobId={job.id}", "TimeLimit=1")  # Slurm looks every 30 seconds
    job.until_state("PENDING")
    assert job.state["progress"] == "stopped"
    assert max(job.losses) == 3
    workspace.slurm.run("scontrol", "update", f"JobId={job.id}", "TimeLimit=60")
    job.resumed()
    finished(job, 10, attempts=2)
    assert "Ctrl-C" not in job.log
    assert "traceback" not in job.log.lower()


def test_a_notice_while_a_job_starts_does_not_kill_it(workspace: Workspace) -> None:
    job = workspace.submit_toy("early", steps=10, held=[1])
    job.until_state("RUNNING")
    # a program that has not begun ends by any signal
    workspace.slurm.until(lambda: workspace.slurm.heeds(job.id, signal.SIGUSR1), job.said)
    workspace.slurm.notify(job.id)
    for _ in range(2):  # by the last one it may have saved already, and Slurm has nobody to tell
        time.sleep(0.3)
        workspace.slurm.words("scancel", "--batch", "--signal=USR1", job.id)
    job.go()  # they came before virc took signals, or it is saving
    job.until_state("PENDING", "COMPLETED")
    if workspace.slurm.state(job.id) == "PENDING":
        job.resumed()
    finished(job, 10, attempts=job.state["attempt"])


def test_two_nodes_save_at_the_signal_and_resume_together(workspace: Workspace) -> None:
    job = workspace.submit_toy("pair", steps=10, nodes=2, held=[3])
    job.until_step(3)
    workspace.slurm.notify(job.id)
    job.resumed()
    finished(job, 10, attempts=2)
    for attempt in (1, 2):
        log = (job.run / "logs" / f"attempt_{attempt}" / "engine.log").read_text()
        assert {f"node {rank} on {node} from" in log for rank, node in enumerate(NODES)} == {True}, log


def test_a_job_asks_for_no_more_cores_than_a_node_has(workspace: Workspace) -> None:
    job = workspace.submit_toy("wide", loaders=64)
    job.completed()
    assert workspace.slurm.show(job.id)["NumCPUs"] == str(CORES)
    log = (job.run / "logs" / "attempt_1" / "engine.log").read_text()
    assert f"--cpus-per-task {CORES} " in log


def test_two_jobs_run_at_once(workspace: Workspace) -> None:
    pair = [workspace.submit_toy(name, steps=5, nodes=2, held=[1]) for name in ("one", "other")]
    for job in pair:
        job.until_step(1)
    assert [workspace.slurm.state(job.id) for job in pair] == ["RUNNING", "RUNNING"]
    for job in pair:
        job.go()
        job.completed()
        finished(job, 5, attempts=1)


def test_a_cancelled_job_saves_and_its_run_is_stopped(workspace: Workspace) -> None:
    job = workspace.submit_toy("cancelled", steps=600, held=[3])
    job.until_step(3)
    workspace.slurm.run("scancel", job.id)
    job.until_state("CANCELLED")
    workspace.slurm.until_idle()
    assert job.progress == "stopped", job.said()
    assert job.saved == 3
    assert job.weights == slurm_workspace.weights(3)
    assert "Ctrl-C" not in job.log


def test_a_cancelled_job_without_time_to_save_says_what_is_lost(workspace: Workspace) -> None:
    job = workspace.submit_toy("slow", steps=600, held=[3], save=60)
    job.until_step(3)
    engine = job.engine()
    workspace.slurm.run("scancel", "--full", "--signal=KILL", job.id)  # Slurm asks first, even then
    job.until_state("CANCELLED")
    workspace.slurm.until_idle()
    # Slurm kills the engine and virc at the same time: virc may or may not write its last words.
    assert job.progress == "died" or "nothing was saved yet" in job.log, job.said()
    assert start_time(engine) is None


def test_a_killed_step_fails_the_run_with_the_reason(workspace: Workspace) -> None:
    job = workspace.submit_toy("step", steps=600, held=[3])
    job.until_step(3)
    workspace.slurm.run("scancel", "--signal=KILL", f"{job.id}.0")
    job.until_state("FAILED")
    assert job.progress == "failed"
    assert "it was killed, perhaps for want of memory" in job.state["error"]
    assert workspace.slurm.exit_code(job.id) == "7:0"


def test_a_killed_engine_fails_the_run_and_the_job(workspace: Workspace) -> None:
    job = workspace.submit_toy("engine", steps=600, held=[3])
    job.until_step(3)
    os.kill(job.engine(), signal.SIGKILL)
    job.until_state("FAILED")
    assert job.progress == "failed"
    assert "it was killed, perhaps for want of memory" in job.state["error"]
    assert attempts.attempts(Run(job.run))[0].exit == 128 + signal.SIGKILL
    assert workspace.slurm.exit_code(job.id) == "7:0"


def test_a_killed_step_daemon_fails_the_run_and_leaves_no_engine(workspace: Workspace) -> None:
    job = workspace.submit_toy("daemon", steps=600, held=[3])
    job.until_step(3)
    engine, daemon = job.engine(), workspace.slurm.step(job.id)
    assert daemon
    os.kill(daemon, signal.SIGKILL)
    job.until_state("FAILED")
    assert job.progress == "failed"
    assert job.state["error"] == "LLaMA-Factory failed: Slurm's daemon of the step was killed on node 0 of the job"
    assert start_time(engine) is None
    assert job.weights == slurm_workspace.weights(job.saved)


def test_a_killed_batch_script_died_and_leaves_no_engine(workspace: Workspace) -> None:
    job = workspace.submit_toy("batch", steps=600, held=[3])
    job.until_step(3)
    engine = job.engine()
    os.kill(job.state["pid"], signal.SIGKILL)
    job.until_state("FAILED")
    workspace.slurm.until_idle()
    assert job.progress == "died"
    assert start_time(engine) is None


def test_a_run_whose_node_fails_goes_on_elsewhere_once(workspace: Workspace) -> None:
    job = workspace.submit_toy("node", steps=10, held=[3, 5])
    job.until_step(3)
    node = workspace.slurm.show(job.id)["BatchHost"]
    workspace.slurm.kill(node)
    job.until_state("PENDING")
    assert job.progress == "died"
    job.released()
    job.until_state("RUNNING")
    workspace.slurm.start(node)
    job.go()
    job.completed()
    finished(job, 10, attempts=2)


def test_a_node_that_slurm_loses_is_named_and_its_job_goes_on_elsewhere(workspace: Workspace) -> None:
    """Its slurmd alone is gone: Slurm gives the node up after SlurmdTimeout, while virc and the engine live there."""
    job = workspace.submit_toy("lost", steps=10, held=[3, 5])
    job.until_step(3)
    node, engine = workspace.slurm.show(job.id)["BatchHost"], job.engine()
    workspace.slurm.end(node, signal.SIGKILL)
    job.until_state("PENDING")
    workspace.slurm.until(lambda: job.progress == "failed", job.said)
    assert job.state["error"] == f"LLaMA-Factory failed: Slurm has lost the node {node}"
    workspace.slurm.until(lambda: start_time(engine) is None, job.said)
    job.released()
    job.engine(attempt=2)
    (other,) = set(NODES) - {node}
    assert f"node 0 on {other} from" in (job.run / "logs" / "attempt_2" / "engine.log").read_text()


def test_a_requeue_waits_for_the_controller(workspace: Workspace) -> None:
    job = workspace.submit_toy("controller", steps=10, held=[3])
    job.until_step(3)
    workspace.slurm.end("slurmctld")
    os.kill(job.state["pid"], signal.SIGUSR1)
    workspace.slurm.until(lambda: job.state["progress"] == "stopped", job.said)
    workspace.slurm.until(lambda: "tried again in" in job.log, job.said)
    workspace.slurm.start("slurmctld")
    job.resumed()
    finished(job, 10, attempts=2)
