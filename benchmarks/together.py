"""Tiny in this process, one conversation at a time and several in one batch.

`python benchmarks/together.py [PROBLEMS [ROUNDS]]` draws held-out diagrams and has `virc batch` solve
them with every concurrency in turn, on one core. Counted is the processor time of the process, less that of a batch of
no rows: it stays the same where others keep the machine busy. The answers must be the same.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from throughput import ENV, VIRC

AT_ONCE = (1, 8, 16, 32)


def batch(rows: Path, at_once: int) -> tuple[float, dict[object, object]]:
    """Processor time of a batch in seconds, and the answers by id."""
    words = [*VIRC, "batch", str(rows), "--model", "tiny", "--device", "cpu", "--temperature", "0"]
    out = rows.with_suffix(".out")
    out.unlink(missing_ok=True)
    words += ["--to", str(out), "--concurrency", str(at_once)]
    process = subprocess.Popen(words, env=ENV, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    lines = [json.loads(line) for line in out.read_bytes().splitlines()] if out.exists() else []
    return usage.ru_utime + usage.ru_stime, {line["id"]: (line["answer"], line["tokens"]) for line in lines}


def main(problems: int = 256, rounds: int = 1) -> None:
    """Print problems a second of processor time for each concurrency, and the ratio to one at a time."""
    with tempfile.TemporaryDirectory() as temporary:
        to = Path(temporary) / "held"
        words = ["--to", str(to), "--count", str(problems), "--seed", "20000", "--split", "heldout"]
        synth = [*VIRC, "data", "synth", *words, "--formats", "batch", "--drawing", "1"]
        subprocess.run(synth, env=ENV, check=True, capture_output=True)
        none = to / "none.jsonl"
        none.touch()
        found: dict[int, list[float]] = {at_once: [] for at_once in AT_ONCE}
        for _ in range(rounds):
            idle, _ = batch(none, 1)
            answers: list[dict[object, object]] = []
            for at_once in AT_ONCE:
                seconds, said = batch(to / "problems.jsonl", at_once)
                assert len(said) == problems
                found[at_once].append(problems / (seconds - idle))
                answers.append(said)
            alike = [sum(said[id] == answers[0][id] for id in said) for said in answers]
            print(f"answers as of one at a time: {alike} of {problems}", flush=True)
        for at_once, rates in found.items():
            ratio = median(rates) / median(found[1])
            print(f"{at_once:3} at a time: {median(rates):6.2f} problems/s of one core, {ratio:.1f} times one")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
