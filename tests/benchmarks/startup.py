"""How long `virc --help` takes beside `hf --help`: `python tests/benchmarks/startup.py`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 11


def seconds(program: str) -> float:
    """Wall time of `program --help`, s; the program of this environment."""
    began = time.perf_counter()
    command, quiet = [str(Path(sys.executable).parent / program), "--help"], subprocess.DEVNULL
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}  # hf would look for a newer hf
    subprocess.run(command, env=offline, stdout=quiet, stderr=quiet, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the medians and their ratio; in turns, so that a busy machine slows both."""
    seconds("virc"), seconds("hf")  # fill the file cache
    pairs = [(seconds("virc"), seconds("hf")) for _ in range(ROUNDS)]
    virc, hf = (median(column) for column in zip(*pairs, strict=True))
    print(f"virc --help {virc * 1000:.0f} ms, hf --help {hf * 1000:.0f} ms, ratio {virc / hf:.2f} (aim: 0.50)")


if __name__ == "__main__":
    main()
