"""Kill -9, Ctrl-C and SIGTERM on a process of its own: nothing is lost, nothing half-written has a name."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from archives import ENVIRONMENT, Tree, contents, file, lz4ed, many, start, tar, tree

pytestmark = pytest.mark.integration

PARTIAL = "virc-unpack.partial"
# The large one at the end takes its time, so that a kill meant for the last small ones does not come too late.
ENTRIES = [*many(1500, seed=7, sizes=(2000, 30_000)), file("last", random.Random(7).randbytes(32 << 20))]
WHOLE = contents(ENTRIES)


@pytest.fixture(scope="module")
def packed() -> bytes:
    """Many small files, so that there is a middle to be stopped in."""
    return lz4ed(tar(*ENTRIES))


def files(to: Path) -> Tree:
    """What is there under final names."""
    return {name: data for name, data in tree(to).items() if not name.lstrip(".").startswith(PARTIAL) and data}


STOPS = """
import os, signal, sys, threading, time
from pathlib import Path
from virc_cli.main import main

number, wanted, delay, to = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
looking, sent = threading.local(), []


def there():
    return sum(1 for folder in to.glob("images/*") for _ in os.scandir(folder))


def look(event, arguments):
    if event != "open" or sent or getattr(looking, "busy", False):
        return
    looking.busy = True
    if there() >= wanted and not sent:
        sent.append(number)
        time.sleep(delay)
        os.kill(os.getpid(), number)
    looking.busy = False


sys.addaudithook(look)
sys.exit(main(sys.argv[5:]))
"""
"""Sends itself a signal some seconds after so many files are under final names: no other process could in time."""


def stopped(archive: Path, to: Path, share: float, number: int, delay: float = 0) -> "subprocess.Popen[bytes]":
    """Start one that gets a signal when about that share of the files is there, and seconds later."""
    words = [number, int(share * len(ENTRIES)), delay, to, "unpack", archive, "--to", to, "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", STOPS, *map(str, words)], env=ENVIRONMENT, stdout=pipe, stderr=pipe)


def killed_and_completed(kills: int, seed: int, packed: bytes, tmp_path: Path) -> None:
    chance = random.Random(seed)
    archive, to = tmp_path / "a.tar.lz4", tmp_path / "to"
    archive.write_bytes(packed)
    kept: Tree = {}
    for kill in range(kills):
        share = (kill + chance.random()) / kills * 0.98
        process = stopped(archive, to, share, signal.SIGKILL, chance.uniform(0, 0.003))
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        found = files(to) if to.exists() else {}
        assert found.items() <= WHOLE.items(), "a half-written file has a final name"
        assert found.items() >= kept.items(), "a complete file is lost"
        kept = found
        assert len(kept) < len(WHOLE)
        assert archive.exists()
    assert kept
    out, _ = start("unpack", archive, "--to", to, "--remove", "--json").communicate()
    done = json.loads(out)
    assert (done["skipped"], done["files"], done["removed"]) == (len(kept), len(WHOLE) - len(kept), True)
    assert tree(to) == WHOLE, "something is left over"
    assert not archive.exists()


@pytest.mark.smoke
def test_a_run_killed_anywhere_is_completed_by_the_next(packed: bytes, tmp_path: Path) -> None:
    killed_and_completed(5, 1, packed, tmp_path)


@pytest.mark.slow
def test_a_run_killed_fifty_times_is_completed_by_the_next(packed: bytes, tmp_path: Path) -> None:
    killed_and_completed(50, 2, packed, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_midway_leaves_complete_files_only(number: int, code: int, packed: bytes, tmp_path: Path) -> None:
    archive, to = tmp_path / "a.tar.lz4", tmp_path / "to"
    archive.write_bytes(packed)
    out, err = (process := stopped(archive, to, 0.2, number)).communicate()
    assert (process.returncode, json.loads(out)["error"]["code"]) == (code, code)
    assert b"Traceback" not in err
    found = tree(to)
    assert found.items() <= WHOLE.items(), "half-written files, or names of ours, are left"
    assert 0 < len(found) < len(WHOLE)
    assert archive.exists()
    assert start("unpack", archive, "--to", to).wait() == 0
    assert tree(to) == WHOLE


def test_leftovers_of_a_killed_run_are_cleared(packed: bytes, tmp_path: Path) -> None:
    archive, to = tmp_path / "a.tar.lz4", tmp_path / "to"
    archive.write_bytes(packed)
    (to / PARTIAL).mkdir(parents=True)
    (to / PARTIAL / "0").write_bytes(b"half")
    (to / f".{PARTIAL}.lock").touch()
    assert start("unpack", archive, "--to", to).wait() == 0
    assert tree(to) == WHOLE
