"""What is said of runs in a line, and which of several runs is meant."""

import os
import time
from pathlib import Path

import pytest
from support.made import add, make, metric

from virc.core.errors import ConfigError
from virc.core.plan import Step
from virc.runs import run as runs
from virc.runs.delete import begun_in
from virc.runs.follow import time_left
from virc.runs.metrics import Metric, diverged, newest
from virc.runs.queue import ask
from virc.runs.run import Run
from virc.runs.status import ended, step_line


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (metric(3, 12), "step 3/12  loss 0.3333  lr 5e-6  4.1k tok/s  20 s left"),
        (metric(3, 12, tokens_per_second=999.4), "step 3/12  loss 0.3333  lr 5e-6  999 tok/s  20 s left"),
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
        (runs.State(progress="stopped", step=3, total=9), "a was stopped at step 3/9"),
        (runs.State(progress="stopped", step=3, error="few tools"), "a was stopped at step 3: few tools"),
        (runs.State(progress="failed", step=3), "a failed at step 3: no error was recorded"),
        (runs.State(progress="finished", step=9, total=9), "a finished at step 9/9"),
        (runs.State(progress="died", step=3), "a died at step 3: its process is gone and left no error"),
        (runs.State(), "a has not started"),
    ],
)
def test_how_a_run_ended(state: runs.State, text: str) -> None:
    assert ended(Run(Path("runs/a")), state) == text


def test_a_stage_starts_from_the_newest_finished_run_of_its_base(workspace: Path) -> None:
    for day, (name, about, progress) in enumerate([
        ("older", {}, "finished"), ("newer", {}, "finished"), ("stopped", {}, "stopped"),
        ("of-another-base", {"root": "large"}, "finished"),
        ("of-another-system", {"system": "virc"}, "finished"), ("of-another-stage", {"stage": "practice"}, "finished"),
    ], 1):  # fmt: skip
        run = make(workspace, name, created=f"2026-03-0{day}T00:00:00+00:00", **about)
        runs.write_state(run, progress=progress)
    found = runs.newest_finished(workspace, "tiny", "instruct", "tiny")
    assert found is not None
    assert found.name == "newer"


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


@pytest.mark.parametrize("source", ["base", "adapter", "data", "validation"])
def test_what_began_in_a_folder_is_found_by_each_of_its_sources(workspace: Path, source: str) -> None:
    first = make(workspace, "a")
    make(workspace, "b", **{source: str(first.folder / "x")})
    make(workspace, "c", **{source: str(first.folder) + "b/x"})  # beside it
    assert [run.name for run in begun_in(first.folder, workspace)] == ["b"]
    (workspace / "moved").mkdir()
    (link := workspace / "runs" / "linked").symlink_to(workspace / "moved")
    make(workspace, "d", **{source: str(workspace / "moved" / "x")})
    assert [run.name for run in begun_in(link, workspace)] == ["d"]


def test_the_newest_number_is_the_last_that_a_line_has(workspace: Path) -> None:
    run = make(workspace, "a", 3)
    with run.metrics.open("a") as file:
        file.write('{"step": 4, "eval_loss": 9}\n{"step": 5, "lo')
    assert newest(run) == {"loss": 1 / 3, "reward": None}
    with run.metrics.open("a") as file:
        file.write('\n{"step": 5, "reward": 0.5}\n{"step": 6, "reward": 0}\n{"step": 6, "validation": 1}')
    assert newest(run) == {"loss": 1 / 3, "reward": 0.0}


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


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (metric(1, loss=None), True),
        (metric(1, loss=None, eval_loss=0.5), False),
        (metric(1, loss=None, validation=0.5), False),
        (Metric(step=1), False),
        (metric(1, loss=None, reward=0.5, response_length=9.0, grad_norm=None), True),
        (metric(1, loss=None, reward=0.5, response_length=9.0, grad_norm=1.0), False),
    ],
)
def test_a_line_without_its_main_number_has_diverged(line: Metric, is_one: bool) -> None:
    assert diverged(line) is is_one


def test_the_time_left_is_by_the_first_line_of_the_attempt_and_the_last(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step, 10, seconds=100.0 + 3 * step) for step in (1, 2, 4)))
    assert time_left(run) == pytest.approx(18)
