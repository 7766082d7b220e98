"""`--launcher ray`: what a job is told, without a cluster."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import slurm_cases

from virc.cluster import jobs
from virc.cluster.ray import job as ray_job
from virc.cluster.ray import submit
from virc.cluster.site import Site
from virc.core.errors import UsageError
from virc.core.files import write_json, write_whole
from virc.core.plan import Plan, Step
from virc.core.processes import start_time
from virc.runs import run as runs
from virc.runs import stopping
from virc.runs.run import Run
from virc.stages.context import Place

PYTHON = "/shared/env/bin/python"
ENGINE = Step(
    (PYTHON, "-m", "engine", "/w/it's mine/engine.yaml"), "train", {"PYTHONPATH": "/shared/recipes", "A": "", "B": "1"}
)


def test_a_job_gets_the_keys_of_judges_trackers_and_its_tools_alone(tmp_path: Path) -> None:
    for folder, name in (("code", "A_PASS"), ("sources/other/code", "B_URL")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "tool.yaml").write_text(f"http: {{url: x, headers: {{X-Key: 'a ${{{name}}}'}}}}")
    wanted = {"VIRC_JUDGE_KEY": "1", "VIRC_JUDGE_KEY_CRITIC": "2", "WANDB_API_KEY": "3", "A_PASS": "4", "B_URL": "5",
              "MLFLOW_TRACKING_URI": "http://ann:secret@mlflow"}  # fmt: skip
    others = {"SWANLAB_API_KEY": "", "AWS_SECRET_KEY": "6", "VIRC_PAGES": "7"}
    assert ray_job.secrets(tmp_path, wanted | others) == wanted


class _Client:
    """A client of a cluster whose answers are in this order; an error is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        for start in range(0, len(answer), 3):
            yield answer[start : start + 3]

    def get_job_status(self, job: str) -> SimpleNamespace:
        return SimpleNamespace(is_terminal=lambda: self._answers == [""])


def test_a_job_is_followed_over_a_break_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "_LOOK", 0.0)
    client = _Client("step 1\n", ConnectionError("no route"), "step 1\nstep 2\n", "step 1\nstep 2\ndone\n", "")
    assert submit.follow(client, "job").end == "step 1\nstep 2\ndone\n"
    assert capsys.readouterr().out == "step 1\nstep 2\ndone\n"


def test_a_cluster_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_LOOK", 0.01)
    monkeypatch.setattr(submit, "OUTAGE", 0.05)
    with pytest.raises(submit.OutageError, match="has not answered for 0 s: no route"):
        submit.follow(_Client("step 1\n", ConnectionError("no route")), "job")


def test_a_run_on_ray_goes_on_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "runs" / "far")
    run.folder.mkdir(parents=True)
    about = slurm_cases.info(Site(), launcher="ray", kind="rl", settings=slurm_cases.RL_SMALL)
    about = msgspec.structs.replace(about, site={"address": "http://old:8265"})
    write_json(run.folder / "run.json", about)
    write_whole(run.folder / "environment.txt", b"verl==0.9.1\nray==2.60.0\n")
    place = _place(run)

    def address() -> str:
        found = jobs.placed(Plan(ENGINE, {}), run, runs.info(run), 1, place, None)
        nodes = json.loads(found.files[str(run.attempt(1) / ray_job.NODES)])
        assert nodes["versions"] == {"verl": "0.9.1", "ray": "2.60.0"}
        said: str = json.loads(found.files[str(run.attempt(1) / ray_job.JOB)])["address"]
        return said

    assert address() == "http://old:8265"
    jobs.move(run, "http://new:8265")
    assert address() == "http://new:8265"
    with pytest.raises(UsageError):
        jobs.move(run, "auto")
    here = msgspec.structs.replace(runs.info(run), launcher="local", site={})
    write_json(run.folder / "run.json", here)
    jobs.move(run, "http://new:8265")
    assert runs.info(run) == here
    monkeypatch.setattr(jobs.hardware, "pinned", lambda env: {**env, "PINNED": "1"})
    step = jobs.placed(Plan(ENGINE, {}), run, here, 1, place, None).step
    assert (step.argv, step.env) == (ENGINE.argv, {**ENGINE.env, "PINNED": "1"})


def _place(run: Run) -> Place:
    here = run.workspace
    return Place(
        base=here, model_type="qwen2_5_vl", data=here, media=here, output=run.checkpoints, files=run.attempt(1),
        python=Path(PYTHON), recipes=here,
    )  # fmt: skip


def test_a_run_that_is_killed_ends_its_job_first(tmp_path: Path) -> None:
    """The process here needs a moment for that; it would not have one if it were killed with all others."""
    run, done = Run(tmp_path / "runs" / "far"), tmp_path / "job-ended"
    run.folder.mkdir(parents=True)
    write_json(run.folder / "run.json", slurm_cases.info(Site(), launcher="ray", kind="rl"))
    engine = (
        "import pathlib, signal, sys, time\n"
        f"done = pathlib.Path({str(done)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), done.touch(), sys.exit()))\n"
        "print(flush=True)\n"
        "signal.pause()\n"
    )
    argv = [sys.executable, "-c", engine]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        here = {**runs.this_process(), "pid": 2**22 - 1, "started": 1}  # virc itself is gone
        runs.write_state(run, progress="running", engine=process.pid, engine_started=start_time(process.pid), **here)
        stopping.kill(run, runs.state(run))
    assert done.exists()
    assert runs.state(run).progress == "stopped"
