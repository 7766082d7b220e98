"""How a download compares with `curl -o` and a check of the hash: `python benchmarks/download.py [MIB [ROUNDS]]`.

A server that is not the limit (sendfile_hub.py) sends one large file. All ways fetch it in turns, so that a busy
machine slows each: curl by one request, and the check after it; ours hashes what comes, and it is safe on the disk at
the end. The start of Python and imports are not counted; memory is the peak of the process.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SERVER = Path(__file__).with_name("sendfile_hub.py")
REPO, COMMIT, NAME = "some/model", "0" * 40, "large.bin"
CHECKS = {"sha256sum": ["sha256sum"], "openssl": ["openssl", "dgst", "-sha256"]}
OURS = """
import os, sys, time
from pathlib import Path
from virc.download.hub.repository import File, Repo
from virc.download.hub.file import fetch_file
repo, name, commit, size, sha256, to = sys.argv[1:]
file, to = File(name, int(size), sha256), Path(to)
import virc.core.web.client as client
client.http_library()
began, used = time.perf_counter(), time.process_time()
fetch_file(Repo(repo), commit, file, to, to.with_name("work"))
print(time.perf_counter() - began, time.process_time() - used)
"""


class Served(NamedTuple):
    """A file on a running hub."""

    url: str
    large: Path
    sha256: str


class Cost(NamedTuple):
    """What a way took: seconds, seconds of the processor, and peak memory in MiB."""

    wall: float
    cpu: float
    memory: float


@contextmanager
def served(folder: Path, mebibytes: int) -> Iterator[Served]:
    """A hub with one file of that size."""
    large = folder / "large"
    with large.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
    with large.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with subprocess.Popen([sys.executable, SERVER, large], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().strip(), large, sha256)
        finally:
            process.terminate()


def environment(**more: str) -> dict[str, str]:
    places = (ROOT, ROOT / "recipes")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "NO_PROXY": "127.0.0.1,localhost", **more}


def waited(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Seconds of the processor, and peak memory in MiB, of a process that ends well."""
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ours(hub: Served, to: Path) -> dict[str, Cost]:
    what = [REPO, NAME, COMMIT, str(hub.large.stat().st_size), hub.sha256, str(to)]
    env = environment(HF_ENDPOINT=hub.url)
    process = subprocess.Popen([sys.executable, "-c", OURS, *what], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    wall, cpu = map(float, process.stdout.read().split())
    return {"virc": Cost(wall, cpu, waited(process)[1])}


def ran(words: list[str]) -> Cost:
    began = time.perf_counter()
    cpu, memory = waited(subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, text=True))
    return Cost(time.perf_counter() - began, cpu, memory)


def curl(hub: Served, to: Path) -> dict[str, Cost]:
    """By itself, and with each program after it that checks the hash."""
    alone = ran(["curl", "-sSfL", "-o", str(to), f"{hub.url}/{REPO}/resolve/{COMMIT}/{NAME}"])
    assert to.stat().st_size == hub.large.stat().st_size
    found = {"curl -o": alone}
    for name, words in CHECKS.items():
        if shutil.which(words[0]):
            check = ran([*words, str(to)])
            both = Cost(alone.wall + check.wall, alone.cpu + check.cpu, max(alone.memory, check.memory))
            found[f"curl -o, then {name}"] = both
    return found


def in_turns(hub: Served, rounds: int) -> Iterator[dict[str, Cost]]:
    """What each way took; who begins takes turns."""
    for number in range(rounds):
        found: dict[str, Cost] = {}
        for way in (ours, curl) if number % 2 else (curl, ours):
            os.sync()  # what the one before left is no burden of this one
            # A name of its own: what is removed on the way, a disk may discard while the next one is measured.
            found |= way(hub, hub.large.with_name(f"{way.__name__}-{number}"))
        yield found


def main(mebibytes: int = 512, rounds: int = 6) -> None:
    """Print a row for each way, with the ratio of our throughput to its own, and the load of the machine."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        with served(Path(temporary), mebibytes) as hub:
            found = list(in_turns(hub, rounds))
        print(f"{mebibytes} MiB, medians of {rounds}; load {load:.0f} to {os.getloadavg()[0]:.0f}", end="")
        print(f" on {os.cpu_count()} cores (aim: 0.80 of curl -o, then sha256sum)\n")
        print(
            "| | wall time | processor time | memory | throughput of virc to it, and in rounds |\n|---|---|---|---|---|"
        )
        for name in found[0]:
            wall, cpu, memory = (median(column) for column in zip(*(each[name] for each in found), strict=True))
            ratios = [each[name].wall / each["virc"].wall for each in found]
            rounded = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {name} | {wall:.2f} s | {cpu:.2f} s | {memory:.0f} MB | {median(ratios):.2f} ({rounded}) |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
