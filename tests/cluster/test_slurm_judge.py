"""A job of RL on a real Slurm that serves its own judge: `tiny`, on a node of its own or beside training."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import slurm_workspace
from slurm_workspace import Job, Workspace
from support import workspaces

from virc.core.files import write_json
from virc.runs import run as runs
from virc.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SITE = """\
time: 1:00:00
shared: [/]
cpus: 2
judge: {{model: tiny, options: [--engine=transformers, --device=cpu]{gpus}}}
"""
STAGE = ("train", "tiny", "--stage", "rl", "--from", "tiny", "--launcher", "slurm", "--no-submit")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with slurm_workspace.workspace(tmp_path_factory.mktemp("workspace")) as found:
        (found.folder / "rl").mkdir()
        workspaces.synth(found.folder / "rl", 8, "rl")
        yield found


def _submitted(workspace: Workspace, name: str, gpus: str, sleeps: float = 0.0) -> Job:
    """A run whose engine is a toy; its job is in the queue."""
    folder = workspace.folder / "rl"
    (folder / f"{name}.yaml").write_text(SITE.format(gpus=gpus))
    done = workspaces.run(folder, *STAGE, "--site", f"{name}.yaml", "--name", name, "--set", "reward.total=virc")
    assert done.returncode == 0, done.stderr
    run = Run(folder / "runs" / name)
    python = folder / "python"
    toy = shlex.join([sys.executable, str(Path(__file__).with_name("slurm_toy_verl.py"))])
    python.write_text(f'#!/bin/sh\nexec {toy} "$@"\n')
    python.chmod(0o755)
    write_json(run.folder / "run.json", msgspec.structs.replace(runs.info(run), python=str(python)))
    if sleeps:
        (run.folder / "sleeps").write_text(str(sleeps))
    done = workspaces.run(folder, "train", "--resume", "--name", name)
    assert done.returncode == 0, done.stderr
    return Job(workspace.slurm, run.folder)


def test_a_judge_on_a_node_of_its_own_is_asked_and_its_death_ends_the_run(workspace: Workspace) -> None:
    job = _submitted(workspace, "own", "", sleeps=600)
    workspace.slurm.until(lambda: "asked on" in _written(job), job.said, 300)
    assert "asked on 127.0.0.1: chat.completion\n" in _written(job)
    assert "serving the judge tiny at http://127.0.0.2:" in job.log
    (server,) = _servers(job)
    os.kill(server, signal.SIGKILL)
    job.until_state("FAILED", "COMPLETED")
    assert workspace.slurm.exit_code(job.id) == "7:0"
    assert "error: the judge tiny of the job ended: exit code " in job.log, job.said()


def test_a_judge_beside_training_is_asked_and_ends_with_the_job(workspace: Workspace) -> None:
    job = _submitted(workspace, "beside", ", gpus: 1")
    job.until_state("FAILED", "COMPLETED")
    assert workspace.slurm.exit_code(job.id) == "7:0"
    assert "verl failed: the toy has nothing to learn" in job.log, job.said()
    assert workspace.slurm.show(job.id)["NumNodes"] == "1"
    assert "asked on 127.0.0.1: chat.completion\n" in _written(job)
    assert _servers(job) == []


def _written(job: Job) -> str:
    file = job.run / "logs" / "attempt_1" / "engine.log"
    return file.read_text() if file.exists() else ""


def _servers(job: Job) -> list[int]:
    """The processes that serve the job's judge."""
    mark = f"SLURM_JOB_ID={job.id}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and b"srun" not in words and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found
