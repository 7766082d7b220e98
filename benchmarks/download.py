"""How `virc download` compares with `hf download`: `python benchmarks/download.py [MIB [FILES [ROUNDS]]]`.

The scripted hub of the tests serves one large file, and many of 0.5 to 8 KB, as the real one does: by redirects. Both
programs fetch each in turns, so that a busy machine slows both. Ours verifies each hash, and syncs each file to the
disk.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from client import spent

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "recipes"), str(ROOT / "tests")]  # in place of this folder

from download.hub_server import Content, Hub, hub  # noqa: E402

REPO = "some/model"
VIRC = [sys.executable, "-m", "virc_cli", "download", REPO, "--yes", "--to"]
HF = [shutil.which("hf", path=str(Path(sys.executable).parent)) or "hf", "download", REPO, "--local-dir"]


class Cost(NamedTuple):
    """What a command took: seconds, seconds of the processor, peak memory in MiB, and requests that the hub got."""

    wall: float
    cpu: float
    memory: float
    requests: float


def measured(command: list[str], to: Path, server: Hub) -> Cost:
    """What a command takes that downloads into a new folder."""
    server.requests.clear()
    env = {**os.environ, **server.env(to.with_name("home")), "PYTHONPATH": os.pathsep.join(sys.path[:2])}
    os.sync()  # what the one before left is no burden of this one
    began = time.perf_counter()
    words = [*command, str(to)]
    cpu, memory = spent(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return Cost(time.perf_counter() - began, cpu, memory, len(server.requests))


def compared(what: str, files: Mapping[str, Content], folder: Path, rounds: int) -> None:
    """Print the medians of both, and of their ratios."""
    folder.mkdir()
    with hub({REPO: files}) as server:
        server.page = len(files)  # the address of a following page is at huggingface.co, which hf would ask
        pairs = [
            (measured(VIRC, folder / f"{number}-virc", server), measured(HF, folder / f"{number}-hf", server))
            for number in range(rounds)
        ]
    print(f"{what}, medians of {rounds}:")
    for name, costs in zip(("virc download", "hf download"), zip(*pairs, strict=True), strict=True):
        wall, cpu, memory, requests = map(median, zip(*costs, strict=True))
        print(f"  {name}: {wall:.2f} s, {cpu:.2f} s of the processor, {memory:.0f} MiB, {requests:.0f} requests")
    wall, cpu, memory = (median(ours[at] / theirs[at] for ours, theirs in pairs) for at in range(3))
    print(f"  ratio: wall {wall:.2f}, processor {cpu:.2f}, memory {memory:.2f}", flush=True)
    shutil.rmtree(folder)


def main(mebibytes: int = 400, files: int = 3000, rounds: int = 5) -> None:
    """Compare both with one large file and with many small ones."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        large = Path(temporary, "large")
        with large.open("wb") as file:
            for _ in range(mebibytes):
                file.write(chance.randbytes(1 << 20))
        compared(f"{mebibytes} MiB in one file", {"model.safetensors": large}, Path(temporary, "one"), rounds)
        small = {
            f"{number // 256:03}/{number:05}.txt": chance.randbytes(chance.randint(500, 8000))
            for number in range(files)
        }
        compared(f"{files} small files", small, Path(temporary, "many"), rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
