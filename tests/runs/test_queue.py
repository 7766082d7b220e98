"""What the commands show and do of runs whose jobs wait or run in Slurm; here `squeue` prints a file."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from support.called import virc
from support.made import make

from virc.runs import run as runs
from virc.runs.run import Run

Says = Callable[..., None]


@pytest.fixture
def says(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Sets what `squeue` prints; `scancel` takes the job of its last argument out of that."""
    folder = workspace / "bin"
    folder.mkdir()
    jobs = folder / "jobs"
    jobs.touch()
    at, listed = shlex.quote(str(folder)), shlex.quote(str(jobs))
    program(folder / "squeue", f'echo "$*" >> {at}/asked; cat {listed}')
    program(folder / "scancel", f'echo "$*" >> {at}/cancelled; for job; do :; done; sed -i "/^$job|/d" {listed}')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda *lines: jobs.write_text("".join(f"{line}\n" for line in lines)) and None


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def submitted(workspace: Path, name: str = "a", job: str = "5", **state: object) -> Run:
    run = make(workspace, name, launcher="slurm")
    runs.write_state(run, job=job, **state)
    return run


def test_a_job_that_failed_before_the_run_began_is_named(says: Says, workspace: Path) -> None:
    says("5|FAILED|1000|n1|None")
    run = submitted(workspace)
    assert "5 has ended: FAILED" in virc("runs", "ls").out
    (run.folder / "logs").mkdir()
    (run.folder / "logs" / "slurm-5.log").touch()
    done = virc("runs", "tail", "a")
    assert done.code == 7
    assert "a has not started, and job 5 has ended: FAILED" in done.err
    assert "see " in done.err
    assert "slurm-5.log; virc train --resume --name a submits it again" in done.err


def test_a_job_that_goes_back_while_it_is_stopped_is_cancelled(says: Says, workspace: Path) -> None:
    """Its time was over, and Slurm notified it, just before."""
    says("5|RUNNING|1000|n2|None")
    run = submitted(workspace, progress="running", attempt=1, host="n2", pid=1, started=1)
    jobs = workspace / "bin" / "jobs"
    listed, folder = shlex.quote(str(jobs)), shlex.quote(str(run.folder))
    back = f"sed -i s/running/stopped/ {folder}/state.json; echo '5|PENDING|N/A||BeginTime' > {listed}"
    program(workspace / "bin" / "scancel", f"if [ $# = 1 ]; then : > {listed}; else {back}; fi")
    assert "a was stopped at step 0" in virc("runs", "stop", "a").out
    assert jobs.read_text() == ""
