"""What a call takes before it has work to do: `python benchmarks/startup.py [ROUNDS]`.

`virc --help` beside `hf --help`, wall time. Then the processor time from the start to the exit of `virc solve` with
tiny in that process, by transformers and, where it is installed, by llama.cpp, beside the imports alone.
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from throughput import ENV, VIRC

PICTURE = Path(__file__).resolve().parents[1] / "tests" / "pictures" / "triangle.png"
SOLVE = [
    *VIRC,
    "solve",
    "--quiet",
    "--model",
    "tiny",
    "--endpoint",
    "none",
    str(PICTURE),
    "What is m∠B in triangle MBH?",
]
TORCH = "import torch"
MODEL = f"{TORCH}, transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
PAUSED = "import gc, virc_cli.main, virc.solving.api; gc.disable(); {}; gc.freeze()"


class Took(NamedTuple):
    """Seconds of a process: wall and processor time."""

    wall: float
    cpu: float


def run(words: list[str]) -> Took:
    """A process to its end; no answer of the model is no failure of the measurement, any other is."""
    began = time.perf_counter()
    process = subprocess.Popen(words, env={**ENV, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return Took(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def main(rounds: int = 7) -> None:
    """Print the medians; all in turns, so that a busy machine slows all."""
    beside = Path(sys.executable).parent
    calls = {
        "virc --help": [str(beside / "virc"), "--help"],
        "hf --help": [str(beside / "hf"), "--help"],
        "solve by transformers": [*SOLVE, "--device", "cpu"],
        "import torch": [sys.executable, "-c", PAUSED.format(TORCH)],
        "import torch and transformers' model": [sys.executable, "-c", PAUSED.format(MODEL)],
        "the same, garbage collected": [sys.executable, "-c", MODEL],
    }
    if find_spec("xllamacpp"):
        calls["solve by llama.cpp"] = SOLVE
    for words in calls.values():
        run(words)  # fills the file cache
    took: dict[str, list[Took]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, words in calls.items():
            took[name].append(run(words))
    virc, hf = (median(one.wall for one in took.pop(name)) for name in ("virc --help", "hf --help"))
    print(f"virc --help {virc * 1000:.0f} ms, hf --help {hf * 1000:.0f} ms, ratio {virc / hf:.2f} (aim: 0.50)")
    cpu = {name: median(one.cpu for one in each) for name, each in took.items()}
    whole = cpu["solve by transformers"]
    for name, seconds in cpu.items():
        print(f"{name}: {seconds:.2f} s of processor time, {seconds / whole:.2f} of a solve by transformers")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
