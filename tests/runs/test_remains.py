"""Nothing of an engine is left, wherever its processes hang."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.made import make

from virc.core.events import Reporter
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


def wait_for(run: Run, count: int) -> None:
    end = time.monotonic() + 200  # on a machine that is busy
    while len(leftovers.processes(run)) != count:
        assert time.monotonic() < end
        time.sleep(0.05)


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
