"""What is said of runs in a line, and which of several runs is meant."""

import os
import time
from pathlib import Path

import pytest
from support.made import make

from virc.core.errors import ConfigError
from virc.runs import run as runs
from virc.runs.run import Run
from virc.runs.status import ended


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


@pytest.mark.parametrize(("age", "progress"), [(100.0, "running"), (130.0, "died")])
def test_a_run_elsewhere_has_died_after_four_signs_of_life(workspace: Path, age: float, progress: str) -> None:
    run = make(workspace, "a")
    runs.write_state(run, progress="running", pid=1, host="elsewhere", started=1)
    written = time.time() - age
    os.utime(run.folder / "state.json", (written, written))
    assert runs.state(run).progress == progress
