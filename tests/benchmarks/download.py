"""How a download compares with `curl -o`, from the same server: `python tests/benchmarks/download.py [MIB [ROUNDS]]`.

The hub of the tests, in a process of its own, sends one large file by sendfile. Both fetch it in turns, so that a busy
machine slows both: curl by one request; ours in parts, which are hashed and safe on the disk before they are noted,
and the whole is hashed too. The starts of programs and imports are not counted; memory is the peak of the process.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REPO, NAME = "some/model", "large.bin"
SERVER = """
import sys
from pathlib import Path
from hub_server import hub
repo, name, path = sys.argv[1:]
with hub({repo: {name: Path(path)}}) as server:
    print(server.url, server.commit(repo), flush=True)
    sys.stdin.read()
"""
OURS = """
import sys, time
from pathlib import Path
from virc.download.hub.repository import File, Repo
from virc.download.hub.link import Link
from virc.download.hub.ranged import fetch_large
repo, name, commit, size, sha256, to = sys.argv[1:]
file, to = File(name, int(size), sha256), Path(to)
Link(Repo(repo), commit, file)  # imports
began = time.perf_counter()
fetch_large(Repo(repo), commit, file, to, to.with_name("work"))
print(time.perf_counter() - began)
"""


class Served(NamedTuple):
    """A file on a running hub."""

    url: str
    commit: str
    large: Path
    sha256: str


@contextmanager
def served(folder: Path, mebibytes: int) -> Iterator[Served]:
    """A hub with one file of that size."""
    large = folder / "large"
    with large.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
    with large.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    words = [sys.executable, "-c", SERVER, REPO, NAME, str(large)]
    with subprocess.Popen(
        words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url, commit = process.stdout.readline().split()
        yield Served(url, commit, large, sha256)


def environment(**more: str) -> dict[str, str]:
    places = (ROOT, ROOT / "recipes", ROOT / "tests" / "hub")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "NO_PROXY": "127.0.0.1,localhost", **more}


def new_file(hub: Served) -> Path:
    """A name of its own: what is removed on the way, a disk may discard while the next one is measured."""
    return hub.large.with_name(f"came-{len(list(hub.large.parent.iterdir()))}")


def ours(hub: Served) -> tuple[float, float]:
    """Seconds, and peak memory in MiB."""
    to = new_file(hub)
    what = [REPO, NAME, hub.commit, str(hub.large.stat().st_size), hub.sha256, str(to)]
    env = environment(HF_ENDPOINT=hub.url)
    os.sync()  # what the one before left is no burden of this one
    process = subprocess.Popen([sys.executable, "-c", OURS, *what], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return float(said), usage.ru_maxrss / 1024


def curl(hub: Served) -> tuple[float, float]:
    """Seconds until it ends, and until what it wrote is safe on the disk, as ours is."""
    to = new_file(hub)
    address = f"{hub.url}/{REPO}/resolve/{hub.commit}/{NAME}"
    os.sync()
    began = time.perf_counter()
    subprocess.run(["curl", "-sSfL", "-o", str(to), address], env=environment(), check=True)
    ended = time.perf_counter()
    with to.open("rb") as file:
        os.fsync(file.fileno())
    safe = time.perf_counter()
    assert to.stat().st_size == hub.large.stat().st_size
    return ended - began, safe - began


def in_turns(hub: Served, rounds: int) -> Iterator[tuple[float, float, float, float]]:
    """Seconds and memory of ours, seconds of curl's; who begins takes turns."""
    for number in range(rounds):
        if number % 2:
            theirs = curl(hub)
            yield (*ours(hub), *theirs)
        else:
            yield (*ours(hub), *curl(hub))


def main(mebibytes: int = 512, rounds: int = 6) -> None:
    """Print the medians, the ratios of the throughputs, and the peak memory at this size and at an eighth of it."""
    with tempfile.TemporaryDirectory() as temporary:
        with served(Path(temporary), mebibytes) as hub:
            found = list(in_turns(hub, rounds))
        virc, peak, ended, safe = (median(column) for column in zip(*found, strict=True))
        print(f"{mebibytes} MiB: virc {virc:.2f} s, curl -o {ended:.2f} s, with fsync {safe:.2f} s")
        for name, column in (("curl -o", 2), ("curl -o and fsync", 3)):
            ratios = [each[column] / each[0] for each in found]
            print(f"throughput {median(ratios):.2f} of that of {name} (aim: 0.90), in rounds ", end="")
            print(", ".join(f"{ratio:.2f}" for ratio in ratios))
        with served(Path(temporary), mebibytes // 8) as hub:
            print(f"peak memory {peak:.0f} MiB; {ours(hub)[1]:.0f} MiB at an eighth of the size")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
