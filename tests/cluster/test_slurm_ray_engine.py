"""Slurm and RL: a real Ray on two nodes, which are this machine, and a toy in place of verl."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_cluster
import slurm_cases
import slurm_cluster

from virc.cluster import slurm
from virc.cluster.site import Site
from virc.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 480.0


class Job:
    """A run in a job of two nodes."""

    def __init__(self, folder: Path, steps: int, held: bool = False) -> None:
        self.folder, self.spool = folder / "it's mine", folder / "spool"
        self.spool.mkdir()
        self.run = Run(self.folder / "runs" / "toy")
        (self.run.folder / "code").mkdir(parents=True)
        (self.run.folder / "code" / "mine.py").write_text("")
        (self.run.folder / slurm.LOGS).mkdir()
        if held:
            (self.run.folder / "held").touch()
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "recipes", ROOT / "tests", Path(__file__).parent)))
        env = {
            **os.environ, **slurm_cluster.environment(self.spool), "PYTHONPATH": paths, "TOY_STEPS": str(steps),
            "TOY_EACH": "0.1",
        }  # fmt: skip
        virc = self.folder / "python"
        toy = Path(__file__).with_name("slurm_toy_virc_rl.py")
        virc.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(toy)])} "$@"\n')
        virc.chmod(0o755)
        site = Site(cpus=8)
        text = slurm.job_script(self.run, slurm_cases.RL_SMALL, self.folder, site, str(virc), "rl")
        (self.run.folder / slurm.SCRIPT).write_text(text)
        argv = slurm.submit_step(self.run).argv
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        self.id = slurm.job_id(done.stdout)

    @property
    def log(self) -> str:
        """What the job's script, Ray and the engine wrote."""
        return "".join(path.read_text() for path in sorted((self.run.folder / "logs").rglob("*.log")))

    def ended(self) -> int:
        """The job's exit code."""
        return slurm_cluster.ended(self.spool, self.id, lambda: self.log, PATIENCE)

    def processes(self) -> list[str]:
        """Command lines that still belong to the job's Ray."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"virc-ray-{self.id}" in words:
                found.append(words[:200])
        return found


def test_a_job_of_two_nodes_runs_on_both_and_leaves_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path, steps=5)
    assert job.ended() == 0, job.log
    seen = json.loads((job.run.folder / "seen.json").read_text())
    assert len({each["node"] for each in seen}) == 2, job.log
    assert {each["mine"] for each in seen} == {str(job.run.folder / "code" / "mine.py")}
    assert {each["python"] for each in seen} == {str(ray_cluster.python())}
    assert "from step 0\ndone" in job.log
    _gone(job)


def test_a_job_told_to_end_stops_requeues_and_goes_on(tmp_path: Path) -> None:
    job = Job(tmp_path, steps=10, held=True)
    saved = job.run.folder / "saved"
    slurm_cluster.until(saved.exists, lambda: job.log, PATIENCE)
    slurm_cluster.tell(job.spool, job.id)
    assert job.ended() == 0, job.log
    begun = [int(step) for step in re.findall(r"from step (\d+)", job.log)]
    assert begun == [0, 1], job.log
    assert "exit code 143" in job.log
    assert int(saved.read_text()) == 10
    _gone(job)


def _gone(job: Job) -> None:
    end = time.monotonic() + 200
    while job.processes() and time.monotonic() < end:
        time.sleep(0.2)
    assert not job.processes()
    assert not Path(f"/tmp/virc-ray-{job.id}").exists()
