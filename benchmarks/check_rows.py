"""Time and memory of `virc data check`, compared with a plain loop: `python benchmarks/check_rows.py [ROWS [ROUNDS]]`.

Each of ROWS rows (2,400) shows four photographs of 1,000 x 1,000 px. The loop parses each row and decodes each of its
pictures once, in as many processes (2). Both run in turns, ROUNDS times (3), each check with an empty cache; then the
check runs once more on the unchanged files. Memory is that of all processes, a page that they share counted once.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIDE, PICTURES, WORKERS = 1000, 4, 2
FILES = 50
"""Photographs that differ; further names are links to them."""
LOOP = "--loop"
Measured = tuple[float, float, float]
"""Processor time and wall time, s, and peak memory, MiB."""


def write_rows(folder: Path, count: int) -> Path:
    """A file of so many rows."""
    (folder / "images").mkdir()
    for at in range(count * PICTURES):
        name = folder / "images" / f"{at}.jpg"
        if at < FILES:
            photo(at).save(name, quality=90)
        else:
            os.link(folder / "images" / f"{at % FILES}.jpg", name)
    rows = folder / "rows.jsonl"
    with rows.open("w") as lines:
        for at in range(count):
            question = {"role": "user", "content": "<image>" * PICTURES + f"Which picture has the number {at}?"}
            images = [f"images/{at * PICTURES + each}.jpg" for each in range(PICTURES)]
            reply = {"role": "assistant", "content": f"It is the first: it says {at}, the others do not. " * 5}
            lines.write(json.dumps({"messages": [question, reply], "images": images}) + "\n")
    return rows


def photo(at: int) -> Image.Image:
    """Soft shapes under the noise of a sensor."""
    soft = Image.effect_noise((SIDE // 40 + at % 9, SIDE // 40), 90).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Image.merge("RGB", [Image.blend(soft, Image.effect_noise((SIDE, SIDE), 12), 0.3) for _ in range(3)])


def plain_loop(rows: Path) -> None:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool, rows.open() as lines:
        work = [(line, str(rows.parent)) for line in lines]
        assert sum(pool.map(decoded, work, chunksize=8)) == len(work) * PICTURES


def decoded(work: tuple[str, str]) -> int:
    line, folder = work
    images = json.loads(line)["images"]
    for name in images:
        with Image.open(Path(folder) / name) as image:
            image.load()
    return len(images)


def measured(command: list[str], cache: Path) -> Measured:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    env = {**os.environ, "PYTHONPATH": paths, "VIRC_CACHE": str(cache)}
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            assert status == 0, command
            return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, peak
        peak = max(peak, memory(process.pid))
        time.sleep(0.2)


def memory(pid: int) -> float:
    """MiB of a process and its children."""
    total = 0.0
    with suppress(OSError):  # it has just ended
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = int(rollup.split("\nPss:")[1].split()[0]) / 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(map(memory, map(int, children.read_text().split())))
    return total


def main(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(Path(folder), count)
        check = [sys.executable, "-m", "virc_cli", "data", "check", str(rows), "--workers", str(WORKERS), "--quiet"]
        found: dict[str, list[Measured]] = {"plain loop": [], "check": [], "check again": []}
        for each in range(rounds):
            cache = Path(folder) / f"cache-{each}"
            found["plain loop"].append(measured([sys.executable, __file__, LOOP, str(rows)], cache))
            found["check"].append(measured(check, cache))
            found["check again"].append(measured(check, cache))
    loop = middle(found["plain loop"])
    for name, runs in found.items():
        cpu, wall, peak = (f"{value:.1f}: {value / of:.2f}" for value, of in zip(middle(runs), loop, strict=True))
        print(f"{name}: processor time, s, {cpu}; wall time, s, {wall}; memory, MiB, {peak}")


def middle(runs: list[Measured]) -> list[float]:
    return [median(each) for each in zip(*runs, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] == [LOOP]:
        plain_loop(Path(sys.argv[2]))
    else:
        main(*(int(sys.argv[at]) if len(sys.argv) > at else usual for at, usual in ((1, 2400), (2, 3))))
