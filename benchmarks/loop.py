"""One `virc solve` for each picture, and other ways to the same answers: `python benchmarks/loop.py [PICTURES]`.

Drawn diagrams are solved by tiny: in a loop with the model in each process, in a loop that asks a `virc serve` of this
machine (setting `endpoint`), and by one `virc batch`. The ways take turns. Processor time is that of the
commands; that of the server is printed beside it. By transformers all ways must give the same answers.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from throughput import ENV, VIRC

from virc.serving.address import free_port

HERE = ["--device", "cpu"]  # transformers
BATCHES = 3


def run(words: list[str], **env: str) -> tuple[float, float, str]:
    """Wall and processor time of a command in seconds, and what it printed."""
    began = time.perf_counter()
    process = subprocess.Popen([*VIRC, *words], env=ENV | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    printed = process.stdout.read().decode()
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, printed


@contextmanager
def server(port: int) -> Iterator[int]:
    """`virc serve tiny` by transformers, once it answers: the number of its process."""
    words = [*VIRC, "serve", "tiny", "--engine", "transformers", "--device", "cpu", "--port", str(port)]
    process = subprocess.Popen(words, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    try:
        assert process.stdout.readline().startswith(b"http://")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def used(pid: int) -> float:
    """Seconds of processor time of a process that runs (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(pictures: int = 20) -> None:
    """Print wall and processor time a picture for each way, and the ratio to the loop by transformers."""
    with tempfile.TemporaryDirectory() as temporary:
        held, port = Path(temporary) / "held", free_port()
        synth = ["--to", str(held), "--count", str(pictures), "--seed", "20000", "--split", "heldout"]
        subprocess.run(
            [*VIRC, "data", "synth", *synth, "--formats", "batch", "--drawing", "1"],
            env=ENV,
            check=True,
            capture_output=True,
        )
        rows = [json.loads(line) for line in (held / "problems.jsonl").read_bytes().splitlines()]
        config = Path(temporary) / "config.yaml"
        config.write_text(f"endpoint: http://127.0.0.1:{port}/v1\n")
        loops = {"loop": (HERE, {}), "loop with a server": ([], {"VIRC_CONFIG": str(config)})}
        batches = {"batch": HERE}
        if find_spec("xllamacpp"):
            loops["loop by llama.cpp"], batches["batch by llama.cpp"] = ([], {}), []
        walls: dict[str, list[float]] = {name: [] for name in (*loops, *batches)}
        cpus: dict[str, list[float]] = {name: [] for name in (*loops, *batches)}
        answers: dict[str, list[str]] = {name: [] for name in loops}
        with server(port) as pid:
            before = used(pid)
            for row in rows:
                for name, (words, env) in loops.items():
                    asked = ["solve", "--quiet", *words, str(held / row["image"]), row["question"]]
                    wall, cpu, answer = run(asked, **env)
                    walls[name].append(wall), cpus[name].append(cpu), answers[name].append(answer)
            serving = (used(pid) - before) / pictures
        for _ in range(BATCHES):
            for name, words in batches.items():
                wall, cpu, _ = run(["batch", "--quiet", *words, str(held / "problems.jsonl")])
                walls[name].append(wall / pictures), cpus[name].append(cpu / pictures)
    assert answers["loop"] == answers["loop with a server"]
    first = median(walls["loop"]), median(cpus["loop"])
    print(f"{pictures} pictures; a picture takes, in seconds (and as a ratio to the loop):")
    for name, each in walls.items():
        wall, cpu = median(each), median(cpus[name])
        print(f"{name}: wall {wall:.2f} ({wall / first[0]:.2f}), processor {cpu:.2f} ({cpu / first[1]:.2f})")
    print(f"the server itself: processor {serving:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
