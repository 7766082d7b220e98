"""`virc data make` killed at any moment: nothing half is there, and the same command gives what a straight run does."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from extras.make.made import picture, write_rows
from support.kill_moments import KILLED

from virc_extras.make.run import make

OPERATOR = '''
"""Turn pictures."""

import msgspec
from virc_extras.make.operator import kept, left_out


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing."""


def run(row, means):
    if row.fields["level"] == 3:
        return left_out("three")
    quarters = means.random.randrange(4)
    return kept({**row.fields, "image": means.save(means.image(row, 0).rotate(90 * quarters)), "quarters": quarters})
'''
STEPS = """
- operator: turn.py
- {operator: curriculum, column: level, buckets: 2}
- {operator: select, column: level, max: 3}
"""
PROGRAM = """
from virc_extras.make import progress
from virc_cli.main import main
at = left
def write(self, text, whole=progress.Progress._write):
    if count():
        self._file.write(text[: len(text) // 2])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, text)
progress.Progress._write = write
code = main(sys.argv[1:])
print(at - left, flush=True)
sys.exit(code)
"""


def run(after: int, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process that kills itself at that moment, counted in its calls on files below `to`."""
    words = ["data", "make", "steps.yaml", "rows.jsonl", "--to", "to/new.jsonl", "-q"]
    command = [sys.executable, "-c", KILLED + PROGRAM, str(after), home / "to", *words]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=home)


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder, with what is in them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_home(home: Path) -> None:
    """Rows, an operator and a list of some."""
    rows = [{"id": at, "level": at % 5, "image": picture(home / f"{at}.png", at)} for at in range(9)]
    write_rows(home / "rows.jsonl", rows)
    (home / "turn.py").write_text(OPERATOR)
    (home / "steps.yaml").write_text(STEPS)


def check_kills(home: Path, moments: int) -> None:
    write_home(home)
    straight = run(10**9, home)
    assert straight.returncode == 0, straight.stderr
    calls, whole = int(straight.stdout.split()[-1]), tree(home / "to")
    assert calls > 60
    assert {name for name in whole if not name.endswith(".png")} == {"new.jsonl", "new.jsonl.left_out"}
    draws = random.Random(11)
    for moment in sorted(draws.sample(range(1, calls + 1), moments)):
        shutil.rmtree(home / "to")
        assert run(moment, home).returncode == -signal.SIGKILL
        if draws.random() < 0.5:
            run(draws.randrange(1, calls), home)  # killed once more, or done
        is_done = (home / "to" / "new.jsonl").exists() and not (home / "to" / "new.jsonl.steps").exists()
        again = run(10**9, home)
        assert again.returncode == (2 if is_done else 0), again.stderr
        left = {name: data for name, data in tree(home / "to").items() if not Path(name).name.startswith(".")}
        assert left == whole


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_home(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(45, tmp_path).returncode == -signal.SIGKILL
    assert list(Path("to").glob(".new.step*.jsonl.progress"))
    make("steps.yaml", ["rows.jsonl"], "to/new.jsonl")
    continued = tree(Path("to"))
    shutil.rmtree("to")
    make("steps.yaml", ["rows.jsonl"], "to/new.jsonl")
    assert continued == tree(Path("to"))


@pytest.mark.integration
@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(tmp_path: Path) -> None:
    check_kills(tmp_path, 40)
