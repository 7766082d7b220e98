"""Kill -9, Ctrl-C and SIGTERM on a process of its own: nothing is lost, nothing half-written has a name."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from archives import Tree, contents, file, lz4ed, many, start, tar, tree

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


def stopped(archive: Path, to: Path, share: float, number: int) -> subprocess.Popen[bytes]:
    """Start, and send a signal when about that share of the files is there."""
    wanted = int(share * len(ENTRIES))
    process = start("unpack", archive, "--to", to, "--json")
    while process.poll() is None and there(to) < wanted:
        time.sleep(0.001)
    process.send_signal(number)
    return process


def there(to: Path) -> int:
    """How many files are under final names; cheap enough to ask all the time."""
    return sum(1 for folder in to.glob("images/*") for _ in os.scandir(folder))


def killed_and_completed(kills: int, seed: int, packed: bytes, tmp_path: Path) -> None:
    chance = random.Random(seed)
    archive, to = tmp_path / "a.tar.lz4", tmp_path / "to"
    archive.write_bytes(packed)
    kept: Tree = {}
    for kill in range(kills):
        share = (kill + chance.random()) / kills * 0.98
        stopped(archive, to, share, signal.SIGKILL).communicate()
        found = files(to) if to.exists() else {}
        assert found.items() <= WHOLE.items(), "a half-written file has a final name"
        assert found.items() >= kept.items(), "a complete file is lost"
        kept = found
        assert archive.exists()
    assert 0 < len(kept) < len(WHOLE)
    out, _ = start("unpack", archive, "--to", to, "--remove", "--json").communicate()
    done = json.loads(out)
    assert (done["skipped"], done["files"], done["removed"]) == (len(kept), len(WHOLE) - len(kept), True)
    assert tree(to) == WHOLE, "something is left over"
    assert not archive.exists()


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
