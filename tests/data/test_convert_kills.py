"""`virc data convert` killed at any moment: nothing half is there, and a rerun completes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from data.converted import convert, tree
from support.kill_moments import KILLED

from virc.data.synth.draw import SynthConfig
from virc.data.synth.draw import write as draw

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("capfd")]

PROGRAM = """
from virc_cli.main import main
at = left
code = main(sys.argv[1:])
print(at - left, flush=True)
sys.exit(code)
"""


def killed(after: int, home: Path, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process that kills itself at that moment, counted in its calls on files below `home`."""
    path = os.pathsep.join(sys.path)
    run = [sys.executable, "-c", KILLED + PROGRAM, str(after), home, *words]
    return subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def check_kills(tmp_path: Path, moments: int | None = None) -> None:
    draw(SynthConfig(tmp_path / "set", count=4))
    home = tmp_path / "home"
    home.mkdir()
    source = str(tmp_path / "set/trajectories.json")
    words = ["data", "convert", source, "--to", str(home / "out"), "--format", "sft", "--coordinates", "permille"]
    undisturbed = killed(10**9, home, words)
    assert undisturbed.returncode == 0, undisturbed.stderr
    calls, whole = int(undisturbed.stdout.split()[-1]), tree(home / "out")
    assert calls > 40
    every = range(1, calls + 1)
    for moment in every if moments is None else sorted(random.Random(11).sample(every, moments)):
        shutil.rmtree(home / "out")
        assert killed(moment, home, words).returncode == -signal.SIGKILL
        names = {path.name for path in home.iterdir()}
        assert names <= {"out", ".out.partial", ".out.lock"}
        if "out" in names:  # it was done but for taking the lock away: another run changes nothing
            assert tree(home / "out") == whole
        assert convert(*words[2:]) == (2 if "out" in names else 0)
        assert [path.name for path in home.iterdir()] == ["out"]
        assert tree(home / "out") == whole


def test_killed_at_five_moments_a_rerun_completes_and_leaves_nothing_else(tmp_path: Path) -> None:
    check_kills(tmp_path, 5)


@pytest.mark.slow
def test_killed_at_every_moment_a_rerun_completes_and_leaves_nothing_else(tmp_path: Path) -> None:
    check_kills(tmp_path)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("data", "convert", "in.jsonl", "--format", "batch", "--to", "out"), "out"),
        (("unpack", "in.tar", "--to", "out"), "large.bin"),
    ],
)
def test_a_disk_that_is_full_in_the_middle_is_one_sentence(
    words: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = '{"id": %d, "images": [], "question": "Which?", "answer": "red"}\n'
    Path("in.jsonl").write_text("".join(row % at for at in range(9999)))
    Path("large.bin").write_bytes(os.urandom(2**20))
    with tarfile.open("in.tar", "w") as archive:
        archive.add("large.bin")
    limited = ["bash", "-c", 'ulimit -f 100 && exec "$@"', "-", sys.executable, "-m", "virc_cli", *words]
    done = subprocess.run(
        limited, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert (done.returncode, done.stderr) == (
        1, f"error: file too large: {named}\nhint: make room, or choose another disk\n",
    )  # fmt: skip
    assert not [each for each in tmp_path.rglob("*") if each.is_file() and each.parent != tmp_path]
