"""A module that heeds no SIGTERM, and what it started, end soon after the process that started it was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from virc.core.processes import start_time

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(sys.argv[1], child.pid, flush=True)
time.sleep(300)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "virc.core.orphans", "stubborn", "word"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="engines run on Linux only")
def test_a_group_ends_after_its_parent_though_it_heeds_no_signal(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    recipes = Path(__file__).parents[2] / "recipes"
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{recipes}"}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=env)
    assert parent.stdout is not None
    lines = (parent.stdout.readline(), parent.stdout.readline())
    leader, child = sorted(lines, key=lambda line: "word" in line)
    pids = [int(leader), int(child.split()[1])]
    assert child.startswith("word ")
    assert all(start_time(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 200
    while any(start_time(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.2)
