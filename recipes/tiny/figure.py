"""How long the plain loop takes to the published figure of `tiny`, by seed, and what it learns without tools.

PYTHONPATH=recipes python -m tiny.figure OUT [--device cuda] [--seeds 3] [--control] [--at-once 1]

Each seed begins from nothing: phases of `tiny.loop` with the numbers of steps that made `tiny-base`, then rounds of
`sft`. After each round 200 other held-out diagrams are asked; once as many are right as are published, or after
MAX_ROUNDS, the 500 of the benchmark are. `--control` then trains the phase `direct` from the same weights on as many
rows without tools as `tiny` was trained on with them.

Every seed prints one JSON object: minutes of training to the figure (null: not reached), the share right of 500 with
its 95 % interval, and that of the control. A folder that holds the weights of a phase is not trained again.
A seed draws its rows on one core, which keeps no GPU busy; `--at-once 3` trains three seeds in processes of their own.
Minutes are then those of seeds that share the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from tiny import loop
from virc.evaluation.summary import Summary

PUBLISHED = 0.914
"""Share of the 500 diagrams that `tiny` answers right."""
CONTROL_ROWS = 93_000
MAX_ROUNDS = 12
_DIRECT = 14 * 0.5  # rows of `direct` a step, in the mean of its phase


class Phase(msgspec.Struct, frozen=True):
    """A phase of the loop, its steps and learning rate."""

    name: str
    steps: int
    rate: float


BASE = (
    Phase("sight", 1790, 2e-3), Phase("read", 950, 2e-3), Phase("place", 880, 2e-3), Phase("skills", 3660, 6e-4),
)  # fmt: skip
ROUND = Phase("sft", 1000, 6e-4)
CONTROL = Phase("direct", round(CONTROL_ROWS / _DIRECT), 6e-4)


def learn(out: Path, phases: Sequence[Phase], seed: int, device: str, start: Path | None = None) -> tuple[Path, float]:
    """Train phases one after the other, each in a folder of its own.

    Returns:
        The folder of the last, and the minutes that all took, also in runs before this one.
    """
    minutes = 0.0
    for number, phase in enumerate(phases):
        folder, note = out / f"{number}-{phase.name}", out / f"{number}-{phase.name}" / "minutes.json"
        if not note.is_file():
            began = time.monotonic()
            loop.train(
                folder, steps=phase.steps, phase=phase.name, start=start, seed=seed, rate=phase.rate, device=device
            )
            note.write_text(json.dumps((time.monotonic() - began) / 60))
        minutes += json.loads(note.read_text())
        start = folder
    if start is None:
        raise ValueError("there is no phase to train")
    return start, minutes


def asked(model: Path, problems: str | Path, to: Path, device: str, limit: int) -> tuple[float, tuple[float, float]]:
    """Share right of the first `limit` problems and its 95 % interval, as `virc eval` has them."""
    words = ["eval", problems, "--model", model, "--device", device, "--to", to, "--limit", limit, "--concurrency", 16]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "VIRC_CONFIG": os.devnull}
    command = [sys.executable, "-m", "virc_cli", *map(str, words), "-q"]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    score = msgspec.json.decode((to / "summary.json").read_bytes(), type=Summary).models[0].score
    return score.share, (score.interval[0], score.interval[1])


def others(out: Path, count: int) -> Path:
    """Held-out diagrams that are not those of the benchmark, drawn once."""
    rows = out / "other" / "problems.jsonl"
    if not rows.is_file():
        words = ["data", "synth", "--to", rows.parent, "--split", "heldout", "--seed", 30_000, "--count", count]
        command = [sys.executable, "-m", "virc_cli", *map(str, words), "--formats", "batch", "--drawing", "1", "-q"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    return rows


def figures(
    out: Path,
    seed: int,
    device: str,
    control: bool = False,
    base: Sequence[Phase] = BASE,
    a_round: Phase = ROUND,
    of_control: Phase = CONTROL,
    most_rounds: int = MAX_ROUNDS,
    counts: tuple[int, int] = (200, 500),
) -> Mapping[str, Any]:
    """Train one seed and measure it.

    Args:
        counts: other problems that are asked after each round, and those of the benchmark.
    """
    rows = others(out, counts[0])
    out = out / f"seed-{seed}"
    model, minutes = learn(out / "base", base, seed, device)
    basis, reached = model, None
    for number in range(most_rounds):
        model, more = learn(out / f"round-{number}", [a_round], seed + 100 * (number + 1), device, model)
        minutes += more
        if asked(model, rows, out / "evals" / f"round-{number}", device, counts[0])[0] >= PUBLISHED:
            reached = round(minutes, 1)
            break
    share, interval = asked(model, "diagrams", out / "evals" / "diagrams", device, counts[1])
    found: dict[str, Any] = {"seed": seed, "device": device, "minutes_to_figure": reached, "minutes": round(minutes, 1)}
    found |= {"right": share, "interval_95": interval}
    if control:
        without, spent = learn(out / "control", [of_control], seed, device, basis)
        share, interval = asked(without, "diagrams", out / "evals" / "control", device, counts[1])
        found["control"] = {"right": share, "interval_95": interval, "minutes": round(spent, 1)}
    return found


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and print an object for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args(arguments)
    work = partial(figures, options.out, device=options.device, control=options.control)
    for found in each(work, options.seeds, options.at_once):
        print(json.dumps(found), flush=True)


def each(work: Callable[[int], Mapping[str, Any]], seeds: int, at_once: int) -> Iterator[Mapping[str, Any]]:
    """What the work finds for every seed, in order; several at a time in processes of their own."""
    if at_once < 2:
        yield from map(work, range(seeds))
        return
    with ProcessPoolExecutor(at_once, get_context("spawn")) as pool:
        yield from pool.map(work, range(seeds))


if __name__ == "__main__":
    main()
