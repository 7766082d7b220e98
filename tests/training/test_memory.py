"""Memory of a process and all it started."""

import os
import subprocess
import sys
from pathlib import Path

from virc.core import processes

PARENT = """
import subprocess, sys
child = "held = bytearray(200 * 2**20); held[::4096] = b'x' * len(held[::4096]); print(flush=True); input()"
with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
    started.stdout.readline()
    print(flush=True)
    input()
    started.communicate(b"\\n")
"""


def test_a_childs_memory_counts_to_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        held = processes.memory_of_tree(parent.pid)
        parent.communicate(b"\n")
    assert 200 / 1024 < held < 320 / 1024
    assert processes.memory_of_tree(parent.pid) == 0


def test_processes_of_nobody_we_know_count_nothing(tmp_path: Path) -> None:
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "stat").write_text("broken")
    assert processes.memory_of_tree(os.getpid(), tmp_path) == 0
