"""The judge of a Slurm job: its server is waited for, its death is an error, and the reward gets its address."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import slurm_cases
from support.loopback import free_port

from virc.cluster import judge as judges
from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.core.errors import EngineError
from virc.core.events import Reporter
from virc.core.files import write_json, write_whole
from virc.core.plan import Plan, Step, write_files
from virc.rewards.verl import Settings
from virc.runs.run import Info, Run
from virc.systems.registry import Judging, Reward

JOB = "7"
SETTINGS = {"nodes": 1, "devices": 1, "device": "cpu", "reward": {"judge": {"endpoint": IN_JOB}}}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in a job, on one node that is this machine."""
    found = Run(tmp_path / "runs" / "toy")
    found.attempt(1).mkdir(parents=True)
    reward = Reward(judge=Judging(endpoint=IN_JOB, model="m"))
    for file in (found.folder / "reward.json", found.folder / "sources" / "other" / "reward.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, Settings(reward=reward, folder="/w"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node")
    monkeypatch.setattr(judges, "_LOOK", 0.02)
    monkeypatch.setattr(judges, "_PORTS", free_port() - int(JOB))
    _program(tmp_path / "bin" / "scontrol", "print('127.0.0.1')")
    return found


def _program(file: Path, text: str) -> None:
    write_whole(file, f"#!{sys.executable}\n{text}".encode())
    file.chmod(0o755)


def _planned(run: Run, srun: str, **judge: Any) -> Info:
    """A run whose job has a judge; `srun` is what its step does."""
    _program(run.folder.parents[1] / "bin" / "srun", srun)
    site = Site(judge=JobJudge(model="judge-7b", **judge))
    plan = judges.with_script(Plan(Step(("engine",), "train"), {}), run.attempt(1), SETTINGS, site, sys.executable)
    write_files(plan)
    return slurm_cases.info(site, kind="rl", settings=SETTINGS)


def test_a_judge_that_never_answers_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    info = _planned(run, "import time\ntime.sleep(60)", minutes=1)
    monkeypatch.setattr(judges, "_MINUTE", 0.01)
    with pytest.raises(EngineError, match=r"the judge judge-7b of the job has not answered at http://.* in 1 minute$"):
        _watched(run, info)


def _watched(run: Run, info: Info) -> None:
    """Look after a judge for ever, as if a run trained."""
    with judges.served(run, info, 1, JOB, [], Reporter()) as serving:
        while serving:
            serving.check()
