"""`tiny` by llama.cpp beside transformers, in this process: `python benchmarks/llamacpp.py [PROBLEMS]`.

Prints how many answers are equal and right, what `virc solve` costs from start to answer, and what a problem costs when
the model is loaded.
"""

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from virc.data.synth.families import polygons
from virc.models.load import Opened, load
from virc.solving.one import SolveConfig, solve

ROUNDS = 5
WAYS = {"llama.cpp": None, "transformers": "cpu"}
"""How a model is run -> the device to ask for."""


def cost(work: Callable[[], object], who: int) -> tuple[float, float]:
    """CPU and wall seconds of work in this process or its children."""
    before, began = resource.getrusage(who), time.perf_counter()
    work()
    after, wall = resource.getrusage(who), time.perf_counter() - began
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def answers(model: Opened, problems: int) -> list[str | None]:
    """The answers to drawn problems, of which no model was trained on any."""
    found = []
    for seed in range(problems):
        drawn = polygons.generate(random.Random(seed), "heldout")
        solved = solve(SolveConfig(), model.backend, model.chat_protocol, [polygons.draw(drawn)], drawn.question)
        found.append(solved.answer)
    return found


def main(problems: int) -> None:
    """Print all figures, each way's in turn."""
    right = [str(polygons.generate(random.Random(seed), "heldout").answer) for seed in range(problems)]
    made: dict[str, list[str | None]] = {}
    each: dict[str, float] = {}
    for way, device in WAYS.items():
        with load("tiny", device=device) as model:
            each[way] = cost(lambda: made.update({way: answers(model, problems)}), resource.RUSAGE_SELF)[0] / problems  # noqa: B023
    equal = sum(one == other for one, other in zip(*made.values(), strict=True))
    print(f"{equal} of {problems} answers are equal")
    for way, found in made.items():
        count = sum(one == other for one, other in zip(found, right, strict=True))
        print(f"{way}: {count} right, {each[way]:.2f} s of CPU a problem")

    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "figure.png"
        drawn = polygons.generate(random.Random(0), "heldout")
        polygons.draw(drawn).save(picture)
        command = [str(Path(sys.executable).parent / "virc"), "solve", str(picture), drawn.question]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}

        def run(device: str | None) -> Callable[[], object]:
            words = [*command, *(("--device", device) if device else ())]
            return lambda: subprocess.run(words, env=environment, check=True, capture_output=True)

        rounds = [[cost(run(device), resource.RUSAGE_CHILDREN) for device in WAYS.values()] for _ in range(ROUNDS)]
    for way, costs in zip(WAYS, zip(*rounds, strict=True), strict=True):
        cpu, wall = (median(column) for column in zip(*costs, strict=True))
        print(f"virc solve by {way}: {cpu:.2f} s of CPU, {wall:.2f} s from start to answer")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
