"""Run folders as training leaves them, written by the functions that training uses."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import virc
from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.systems import registry as systems

_HOLD = """
import json, signal, sys
from pathlib import Path
from virc.runs import run as runs
run = runs.Run(Path(sys.argv[1]))
changes = json.loads(sys.argv[2])
def end(number, frame):
    runs.write_state(run, **changes)
    raise SystemExit
signal.signal(signal.SIGTERM, end)
runs.write_state(run, progress="running", **runs.this_process())
print("running", flush=True)
while True:
    signal.pause()
"""


def make(workspace: Path, name: str, steps: int = 0, created: str = "2026-03-01T10:00:00+00:00", **about: Any) -> Run:
    """A run with metrics of that many steps, of which none has been trained yet where there are none."""
    run = runs.new(workspace, name, "")
    resolved = stages.resolve(systems.get("tiny"), "instruct", ["lora"], None, ["seed=7"])
    fields: dict[str, Any] = {
        "name": name, "system": "tiny", "stage": "instruct", "kind": "sft", "overlays": resolved.overlays,
        "created": created, "base": "/models/tiny", "root": "tiny", "data": "/data/rows.json", "dataset": "rows",
        "rows": 1234, "longest": 567, "settings": msgspec.to_builtins(resolved.config),
        "origins": dict(resolved.origins), "environment": "sft-cpu", "device": "cpu", "python": sys.executable,
        "recipes": "/recipes", **about,
    }  # fmt: skip
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_bytes(msgspec.json.encode(Info(**fields)))
    if steps:
        add(run, *(metric(step, steps) for step in range(1, steps + 1)))
        write_log(run, 1, "loading the model")
        runs.write_state(run, progress="finished", attempt=1, step=steps, total=steps, loss=1 / steps)
    return run


def metric(step: int, total: int = 100, attempt: int = 1, **fields: Any) -> Metric:
    """What a step logs; each takes two seconds."""
    return Metric(
        step=step, total=total, attempt=attempt, **{"loss": 1 / step, "learning_rate": 5e-6, "seconds": 2.0 * step,
        "tokens_per_second": 4100.0, **fields},
    )  # fmt: skip


def add(run: Run, *metrics: Metric) -> None:
    """Log further steps."""
    with run.metrics.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in metrics))


def write_log(run: Run, attempt: int, text: str) -> None:
    """What the engine wrote in an attempt, more of it."""
    run.attempt(attempt).mkdir(parents=True, exist_ok=True)
    with run.log(attempt).open("a") as file:
        file.write(text + "\n")


def save(run: Run, step: int, resumable: bool = True) -> Path:
    """A whole checkpoint."""
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    for name in ("processor_config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(3_000))
    if resumable:
        (folder / "scheduler.pt").write_bytes(bytes(500))
    return folder


@contextmanager
def running(run: Run, **end: Any) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the run as an attempt does; asked to end, it writes this state."""
    command = [sys.executable, "-c", _HOLD, str(run.folder), json.dumps({"progress": "stopped", **end})]
    env = {**os.environ, "PYTHONPATH": str(Path(virc.__file__).parents[1])}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        try:
            yield child
        finally:
            child.kill()
