"""How processor time and memory grow with tenfold work: `PYTHONPATH=. python benchmarks/growth.py [NAME ...] [ROUNDS]`.

Each command runs on so much work and on ten times as much, in turns, ROUNDS times (3), by what the other programs
measure with. It prints a row of the table in docs/performance.md for each, of medians, and ends with 1 where ten times
the work takes over 11 times the processor time or over 1.2 times the memory.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from client import server

from benchmarks import agent, batch, check_rows, download, unpack

MOST_TIME, MOST_MEMORY = 11, 1.2
CLIENTS, PORT = 16, 8993
Measure = Callable[[Path, int], tuple[float, float]]
"""Processor time in s and peak memory in MiB of so much work, in an empty folder."""
VIRC = [sys.executable, "-m", "virc_cli"]


@contextmanager
def batches() -> Iterator[Measure]:
    with server(batch.SERVER) as (url, _):

        def measure(folder: Path, count: int) -> tuple[float, float]:
            rows, to = batch.write_rows(folder, count), folder / "answers.jsonl"
            options = ["--endpoint", url, "--concurrency", str(batch.AT_A_TIME), "--to", str(to), "--quiet"]
            cost = batch.run([*VIRC, "batch", str(rows), *options], to, count)
            return cost.cpu, cost.memory

        yield measure


@contextmanager
def checks() -> Iterator[Measure]:
    def measure(folder: Path, count: int) -> tuple[float, float]:
        rows = check_rows.write_rows(folder, count)
        words = ["data", "check", str(rows), "--workers", str(check_rows.WORKERS), "--quiet"]
        cpu, _, memory = check_rows.measured([*VIRC, *words], folder / "cache")
        return cpu, memory

    yield measure


@contextmanager
def archives() -> Iterator[Measure]:
    def measure(folder: Path, count: int) -> tuple[float, float]:
        path, to = unpack.archive(folder / "small.tar.lz4", count), folder / "to"
        cost = unpack.measured([*unpack.VIRC, "--to", str(to), str(path)], to)
        return cost.cpu, cost.memory

    yield measure


@contextmanager
def downloads() -> Iterator[Measure]:
    def measure(folder: Path, count: int) -> tuple[float, float]:
        chance = random.Random(0)
        files = {f"{at // 256:03}/{at:05}.txt": chance.randbytes(chance.randint(500, 8000)) for at in range(count)}
        with download.hub({download.REPO: files}) as hub:
            cost = download.measured(download.VIRC, folder / "to", hub)
        return cost.cpu, cost.memory

    yield measure


@contextmanager
def agents() -> Iterator[Measure]:
    with server(agent.SERVER) as (url, _):
        words = [*VIRC, "serve", "--agent", "--endpoint", url, "--port", str(PORT), "--quiet"]

        def measure(_: Path, count: int) -> tuple[float, float]:
            contents = agent.bodies(count, batch.SIDES)
            with agent.running(words, PORT) as pid:
                cost = agent.measured(pid, PORT, contents, CLIENTS)
            return cost.cpu * count / 1000, cost.memory

        yield measure


WORK = {
    "batch": ("rows by `virc batch`", 100, batches),
    "check": ("rows of four photographs by `virc data check`", 240, checks),
    "unpack": ("files by `virc unpack`", 8000, archives),
    "download": ("files by `virc download`", 300, downloads),
    "agent": ("requests to `virc serve --agent`, 16 at a time", 96, agents),
}


def main(names: list[str], rounds: int) -> int:
    missed = 0
    for what, count, opened in (WORK[name] for name in names or WORK):
        found: dict[int, list[tuple[float, float]]] = {count: [], 10 * count: []}
        with opened() as measure:
            for _ in range(rounds):
                for size, costs in found.items():
                    with tempfile.TemporaryDirectory() as folder:
                        costs.append(measure(Path(folder), size))
        (cpu, memory), (more_cpu, more_memory) = (map(median, zip(*costs, strict=True)) for costs in found.values())
        times = f"{cpu:.1f}, {more_cpu:.1f} s: {more_cpu / cpu:.1f} times"
        peaks = f"{memory:.0f}, {more_memory:.0f} MiB: {more_memory / memory:.2f} times"
        print(f"| {count:,} and {10 * count:,} {what} | {times} | {peaks} |", flush=True)
        missed += more_cpu > MOST_TIME * cpu or more_memory > MOST_MEMORY * memory
    return int(missed > 0)


if __name__ == "__main__":
    words = sys.argv[1:]
    number = int(words.pop()) if words and words[-1].isdigit() else 3
    sys.exit(main(words, number))
