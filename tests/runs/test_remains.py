"""Nothing of an engine is left, wherever its processes hang."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.made import make

from virc.core import processes
from virc.core.events import Reporter
from virc.core.plan import Step
from virc.runs import leftovers
from virc.runs.run import Run

SLEEPS = "import time; time.sleep(600)"
LEAVES = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], start_new_session=True)  # as Ray's daemons do
print("started", flush=True)
"""


@pytest.fixture
def run(workspace: Path) -> Run:
    made = make(workspace, "a")
    made.attempt(1).mkdir(parents=True)
    return made


@pytest.fixture
def stranger(run: Run) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of another run, whose name begins with that of the run."""
    env = {**os.environ, leftovers.MARK: leftovers.mark(run)[leftovers.MARK] + "-2"}
    with subprocess.Popen([sys.executable, "-c", SLEEPS], env=env) as child:
        yield child
        child.kill()


def wait_for(run: Run, count: int) -> None:
    end = time.monotonic() + 200  # on a machine that is busy
    while len(leftovers.processes(run)) != count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_an_engine_started_and_left_is_ended_with_it(run: Run, stranger: "subprocess.Popen[bytes]") -> None:
    step = Step((sys.executable, "-c", LEAVES), "leave a process", leftovers.mark(run))
    with leftovers.none_after(run, Reporter()), processes.started(step, run.log(1)) as process:
        assert process.wait(240) == 0
        wait_for(run, 1)
    assert leftovers.processes(run) == []
    assert stranger.poll() is None


def test_what_a_kill_left_is_cleared_up_before_the_next_attempt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_TEMPORARY", run.folder)
    env = {**os.environ, **leftovers.mark(run)}
    subprocess.run([sys.executable, "-c", LEAVES], env=env, stdout=subprocess.DEVNULL, check=True)
    wait_for(run, 1)
    (left,) = leftovers.processes(run)
    with monkeypatch.context() as patched:
        patched.setattr(leftovers.os, "getpid", lambda: left)
        assert leftovers.processes(run) == []  # not the process that clears up
    own = run.folder / f"virc-ray-{leftovers._short(run)}-x1"
    other = run.folder / "virc-ray-00000000-x1"
    for folder in (own / "session", other):
        folder.mkdir(parents=True)
    leftovers.clear(run, Reporter())
    assert leftovers.processes(run) == []
    assert (own.exists(), other.exists()) == (False, True)


def test_processes_are_marked_with_the_whole_path_of_their_run(run: Run) -> None:
    assert leftovers.mark(Run(run.folder.relative_to(Path.cwd()))) == {"VIRC_RUN": str(run.folder)}


def test_a_new_process_with_the_number_of_an_ended_one_is_not_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = iter([1.0, 2.0])
    monkeypatch.setattr(leftovers, "processes", lambda _: [2**30])
    monkeypatch.setattr(leftovers, "start_time", lambda _: next(began))
    monkeypatch.setattr(leftovers, "_TEMPORARY", run.folder)
    leftovers.clear(run, Reporter())
