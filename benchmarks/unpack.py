"""How `virc unpack` compares with `lz4 -dc A | tar -xf -`: `python benchmarks/unpack.py [FILES [ROUNDS]]`.

It makes its own archives, of files of 5-60 KB that do not compress, as pictures are, and of 16 files of 64 MiB, and
unpacks them in turns, so that a busy machine slows both. Both verify the checksum of LZ4. Memory is the peak of one
process, at 1x and 10x the number of small files.
"""

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import lz4.frame
from client import spent

ROOT = Path(__file__).resolve().parents[1]
VIRC = [sys.executable, "-m", "virc_cli", "unpack"]
NAIVE = """
import lz4.frame, sys, tarfile
with lz4.frame.open(sys.argv[1]) as content, tarfile.open(fileobj=content, mode="r|") as tar:
    tar.extractall(sys.argv[2], filter="data")
"""


def archive(path: Path, files: int, sizes: tuple[int, int] = (5000, 60_000)) -> Path:
    """A .tar.lz4 of that many files, 256 to a folder."""
    chance = random.Random(files)
    block = chance.randbytes(sizes[1] + (1 << 20))
    with lz4.frame.open(path, "wb", content_checksum=True) as out, tarfile.open(fileobj=out, mode="w|") as tar:
        for number in range(files):
            info = tarfile.TarInfo(f"images/{number // 256:04}/{number:07}.png")
            info.size, info.mtime = chance.randint(*sizes), 1_700_000_000
            begins = chance.randrange(len(block) - info.size)
            tar.addfile(info, io.BytesIO(block[begins : begins + info.size]))
    return path


class Cost(NamedTuple):
    """What a command took: seconds, seconds of the processor, and peak memory of one process in MiB."""

    wall: float
    cpu: float
    memory: float


def measured(command: list[str], to: Path) -> Cost:
    """What a command takes that fills a new folder; it stays: ext4 makes files slowly where some were just deleted."""
    to.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes")))}
    began = time.perf_counter()
    cpu, memory = spent(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return Cost(time.perf_counter() - began, cpu, memory)


def pipeline(path: Path, to: Path) -> tuple[str, list[str]]:
    """What to compare with, and its name: the two programs where they are, else what a script would do."""
    if shutil.which("lz4") and shutil.which("tar"):
        return "lz4 -dc | tar -xf -", ["sh", "-c", 'lz4 -dc "$0" | tar -xf - -C "$1"', str(path), str(to)]
    return "lz4.frame + tarfile (no lz4 or tar here)", [sys.executable, "-c", NAIVE, str(path), str(to)]


def compared(path: Path, to: Path, rounds: int, aim: float) -> float:
    """Print the medians and their ratios; return the peak memory of ours, MiB."""
    found = []
    for number in range(rounds):
        ours_to, other_to = to / f"{number}-virc", to / f"{number}-other"
        name, other = pipeline(path, other_to)
        found.append((measured([*VIRC, "--to", str(ours_to), str(path)], ours_to), measured(other, other_to)))
    virc, theirs = (Cost(*map(median, zip(*column, strict=True))) for column in zip(*found, strict=True))
    print(f"{path.name}, {path.stat().st_size / 1e6:.0f} MB, medians of {rounds}:")
    for label, cost in (("virc unpack", virc), (name, theirs)):
        print(f"  {label}: {cost.wall:.2f} s, {cost.cpu:.2f} s of the processor")
    speed, processor = (median(theirs[at] / ours[at] for ours, theirs in found) for at in (0, 1))
    print(f"  speed {speed:.2f} of it (aim: {aim}), by processor time {processor:.2f}", flush=True)
    shutil.rmtree(to)
    to.mkdir()
    return virc.memory


def main(files: int = 8_000, rounds: int = 5) -> None:
    """Print the medians, their ratios, and the peak memory at both sizes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, to = Path(temporary), Path(temporary, "to")
        to.mkdir()
        large = archive(folder / "large.tar.lz4", 16, (64 << 20, 64 << 20))
        compared(large, to, rounds, 1.6)
        large.unlink()
        small = archive(folder / "small.tar.lz4", files)
        peak = compared(small, to, rounds, 2.2)
        small.unlink()
        big = archive(folder / "ten.tar.lz4", 10 * files)
        print(f"peak memory {peak:.0f} MiB at 1x, ", end="", flush=True)
        ten = measured([*VIRC, "--to", str(to / "ten"), str(big)], to / "ten")
        print(f"{ten.memory:.0f} MiB at 10x")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
