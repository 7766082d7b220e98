"""What users see of jobs of a real Slurm, and do with them: queued, held, running; mended, stopped, removed."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slurm_workspace
from slurm_workspace import Workspace
from support.called import virc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_STAGE = ("train", "tiny", "--stage", "instruct")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with slurm_workspace.workspace(tmp_path_factory.mktemp("workspace")) as found:
        yield found


@pytest.fixture
def workspace(shared: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The workspace, in which commands are called, on a cluster without jobs."""
    monkeypatch.chdir(shared.folder)
    yield shared
    shared.slurm.clear()


def listed(name: str) -> dict[str, Any]:
    """A run in `virc runs ls --json`."""
    rows: list[dict[str, Any]] = virc("runs", "ls", "--json").json["runs"]
    return next(row for row in rows if row["name"] == name)


def site(workspace: Workspace, text: str) -> Path:
    file = workspace.folder / "mine.yaml"
    file.write_text(f"shared: /\n{text}\n")
    return file


def test_a_job_that_slurm_refuses_is_mended_then_waits_and_is_cancelled(workspace: Workspace) -> None:
    file = site(workspace, "time: 1:00:00\nextra: --frobnicate")
    planned = virc(*_STAGE, "--site", file, "--dry-run")
    assert planned.code == 3
    assert "Slurm refuses such a job: sbatch: unrecognized option '--frobnicate'" in planned.err
    workspace.toy("held")
    again = ("train", "--resume", "--name", "held")
    refused = virc(*again, "--site", file)
    assert refused.code == 7
    assert f"mend {file}, then virc train --resume --name held" in refused.err
    site(workspace, "time: 1:00:00\npartition: mian")
    assert "partition 'mian' is not in this cluster" in virc(*_STAGE, "--site", file).err
    site(workspace, "time: 1:00:00\nextra: --hold")
    submitted = virc(*again, "--json")
    assert submitted.code == 0, submitted.err

    found = listed("held")
    assert found["job"] == submitted.json["job"]
    assert (found["progress"], found["queue"]["phase"], found["queue"]["reason"]) == ("queued", "queued", "JobHeldUser")
    assert f"{found['job']} waits: JobHeldUser; scontrol release" in virc("runs", "ls").out
    assert "has a job already" in virc(*again).err
    assert "hint: virc runs stop held ends it" in virc("runs", "rm", "held", "--yes").err
    assert virc("runs", "stop", "held").out == f"held is out of the queue: its job {found['job']} was cancelled\n"
    assert workspace.slurm.state(found["job"]) == "CANCELLED"
    assert virc("runs", "rm", "held", "--yes").code == 0


def test_a_run_is_followed_through_the_queue_and_stopped_from_another_host(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = workspace.submit_toy("seen", steps=600, held=[2, 4])
    with subprocess.Popen(
        [sys.executable, "-m", "virc_cli", "runs", "tail", "seen"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as tail:  # fmt: skip
        job.until_step(2)
        found = listed("seen")
        assert (found["progress"], found["queue"]["phase"]) == ("running", "running")
        assert found["queue"]["nodes"] == workspace.slurm.show(job.id)["NodeList"]
        workspace.slurm.run("scontrol", "hold", job.id)  # so that it waits when it is back
        workspace.slurm.notify(job.id)
        job.until_state("PENDING")
        assert job.state["progress"] == "stopped"
        assert listed("seen")["progress"] == "queued"
        workspace.slurm.run("scontrol", "release", job.id)
        workspace.slurm.run("scontrol", "update", f"JobId={job.id}", "StartTime=now+600")
        workspace.slurm.until(lambda: "is held until" in virc("runs", "show", "seen").out, job.said)
        job.released()
        job.until_step(4)

        monkeypatch.setattr(socket, "gethostname", lambda: "login")
        stopped = virc("runs", "stop", "seen")
        assert stopped.code == 0, stopped.err
        assert f"its newest checkpoint is of step {job.state['step']}" in stopped.out
        assert workspace.slurm.state(job.id) not in ("PENDING", "RUNNING", "COMPLETING")
        out, err = tail.communicate(timeout=240)
    assert tail.returncode == 0, err
    assert [int(line.split()[1].partition("/")[0]) for line in out.splitlines()] == sorted(job.losses)
    assert f"job {job.id} waits" in err or f"job {job.id} is held until" in err
    assert "seen was stopped at step" in err


def test_without_a_controller_nothing_hangs(workspace: Workspace) -> None:
    workspace.toy("quiet")
    assert virc("train", "--resume", "--name", "quiet", "--site", site(workspace, "extra: --hold")).code == 0
    workspace.slurm.kill("slurmctld")
    done = virc("runs", "ls")
    assert done.code == 0
    assert "warning: whether jobs wait or run is not known: could not ask Slurm" in done.err
    assert "quiet" in done.out
