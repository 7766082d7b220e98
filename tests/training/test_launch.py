"""Processes that are started, and what becomes of all they started in turn."""

import sys
import time
from pathlib import Path

import pytest
from support.host import adopting

from virc.core import processes
from virc.core.plan import Step
from virc.core.processes import start_time

_LEAVES_A_WORKER = """
import os, signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(worker.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
_DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1] + ".new", "w").write(str(worker.pid))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def step(code: str, *words: Path) -> Step:
    return Step((sys.executable, "-c", code, *map(str, words)), "try it")


def test_workers_end_when_their_launcher_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[int]()
    monkeypatch.setattr(processes, "kill", killed.append)
    with (
        adopting(lambda: ()),
        processes.started(step(_LEAVES_A_WORKER, tmp_path / "worker"), tmp_path / "log") as process,
    ):
        assert process.wait() == -9
        worker = int((tmp_path / "worker").read_text())
        assert start_time(worker) is not None
    assert start_time(worker) is None
    assert killed == []  # that nobody has waited for the worker costs no time


@pytest.mark.integration
def test_a_launcher_that_does_not_end_when_asked_is_killed_with_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GRACE", 1.0)
    worker = tmp_path / "worker"
    with processes.started(step(_DEAF, worker), tmp_path / "log") as process:
        while not worker.exists():
            time.sleep(0.01)
    assert process.wait(240) == -9
    assert start_time(int(worker.read_text())) is None
