"""What is said of runs in a line, and which of several runs is meant."""

import os
import time
from pathlib import Path

import pytest
from support.made import make, metric

from virc.core.errors import ConfigError
from virc.core.plan import Step
from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.queue import ask
from virc.runs.run import Run
from virc.runs.status import ended, step_line


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (metric(3, 12), "step 3/12  loss 0.3333  lr 5e-6  4.1k tok/s  20 s left"),
        (
            metric(3, None, loss=None, reward=0.5, response_length=80.0, grad_norm=1.0, turns=2.5),
            "step 3  reward 0.5  length 80  turns 2.5  20 s left",
        ),
        (Metric(step=3, learning_rate=1e-5), "step 3  loss nan  lr 1e-5  20 s left"),
        (
            Metric(step=3, loss=0.0, eval_loss=0.25, accuracy=0.0, validation=0.75, entropy=1.5),
            "step 3  loss 0  eval loss 0.25  accuracy 0  validation 0.75  entropy 1.5  20 s left",
        ),
    ],
)
def test_a_step_in_a_line(line: Metric, text: str) -> None:
    assert step_line(line, 20.0) == text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (runs.State(progress="stopped", step=3, error="few tools"), "a was stopped at step 3: few tools"),
        (runs.State(progress="finished", step=9, total=9), "a finished at step 9/9"),
        (runs.State(progress="died", step=3), "a died at step 3: its process is gone and left no error"),
        (runs.State(), "a has not started"),
    ],
)
def test_how_a_run_ended(state: runs.State, text: str) -> None:
    assert ended(Run(Path("runs/a")), state) == text


def test_a_new_run_gets_a_name_that_is_free(workspace: Path) -> None:
    for name in ("rl", "rl-2"):
        make(workspace, name)
    taken = {"rl-3": "it is a model"}
    assert runs.new(workspace, None, "rl", taken.get).name == "rl-4"
    with pytest.raises(ConfigError, match="a run cannot be called rl-3: it is a model"):
        runs.new(workspace, "rl-3", "rl", taken.get)


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "x" * 101])
def test_a_name_that_is_no_name_of_a_folder_is_refused(workspace: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a run"):
        runs.new(workspace, name, "rl")
    assert runs.new(workspace, "x" * 100, "rl").name == "x" * 100


def test_a_name_that_is_taken_says_what_resumes_and_removes_its_run(workspace: Path) -> None:
    make(workspace, "a")
    with pytest.raises(ConfigError, match="there is a run a already") as caught:
        runs.new(workspace, "a", "rl")
    assert caught.value.hint == "virc train --resume --name a resumes it; virc runs rm a removes it"


@pytest.mark.parametrize("name", ["../runs/a", ".a", "a/", "b"])
def test_a_run_is_found_by_its_name_alone(workspace: Path, name: str) -> None:
    make(workspace, "a").folder.joinpath("run.json").read_bytes()
    (workspace / "runs" / ".a").symlink_to(workspace / "runs" / "a")
    with pytest.raises(ConfigError, match="there is no run"):
        runs.find(workspace, name)
    with pytest.raises(ConfigError, match="there is no run") as caught:
        runs.find(workspace / "runs", name)
    assert caught.value.hint == "virc train begins one"


def test_jobs_of_all_users_are_asked_for_whatever_one_of_them_filters(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {"a": 7, "b": 5, "c": 7}
    asked: list[Step] = []
    monkeypatch.setattr("virc.runs.queue._owner", lambda run: owners[run.name])
    monkeypatch.setattr("virc.runs.queue.processes.answer", lambda step, _: asked.append(step) or "")
    ask([(make(workspace, name), runs.State(job="1")) for name in owners])
    (step,) = asked
    assert {"--user=5,7", "--all", "--states=all"} <= {*step.argv}
    assert {name for name, value in step.env.items() if not value} >= {f"SQUEUE_{name}" for name in (
        "ACCOUNT", "FORMAT", "FORMAT2", "LICENSES", "NAMES", "PARTITION", "QOS", "SORT", "STATES", "USERS", "ARRAY",
    )}  # fmt: skip


@pytest.mark.parametrize(("age", "progress"), [(100.0, "running"), (130.0, "died")])
def test_a_run_elsewhere_has_died_after_four_signs_of_life(workspace: Path, age: float, progress: str) -> None:
    run = make(workspace, "a")
    runs.write_state(run, progress="running", pid=1, host="elsewhere", started=1)
    written = time.time() - age
    os.utime(run.folder / "state.json", (written, written))
    assert runs.state(run).progress == progress
