"""Logs and saves as LLaMA-Factory does, a step in a tenth of a second; stands in an environment as its interpreter.

Its weights are a hash over all steps, so that a run that lost or repeated one has others. At each step of `toy_held` it
waits once, until it is told to end or a file `go` is in the run's folder. Started through torchrun it is torchrun and,
in a session of its own, its worker.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

asked = False


def ask(number: int, frame: FrameType | None) -> None:
    global asked  # noqa: PLW0603
    asked = True


def launch(argv: list[str]) -> int:
    """As torchrun: told to end it kills the worker, which then saves nothing."""
    worker = subprocess.Popen([sys.executable, __file__, *argv], start_new_session=True)

    def end(number: int, frame: FrameType | None) -> None:
        worker.kill()
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)
    return worker.wait()


def train(settings: dict[str, Any]) -> None:
    """Every step, from the one of the checkpoint on; asked to end it saves and ends well."""
    output, total = Path(settings["output_dir"]), int(settings["max_steps"])
    rank, nodes = int(os.environ.get("PET_NODE_RANK", "0")), int(settings["toy_nodes"])
    step, weights, resumed = 0, b"", settings.get("resume_from_checkpoint")
    if resumed:
        step = int(resumed.rpartition("-")[2])
        weights = (Path(resumed) / "adapter_model.safetensors").read_bytes()
    if rank == 0:  # as torchrun's, where the processes of two jobs on a node must not meet
        meeting = socket.create_server(("127.0.0.1", int(os.environ["PET_MASTER_PORT"])))
    there = output.parent / f"there-{os.environ['SLURM_JOB_ID']}-{rank}"
    there.touch()
    output.mkdir(exist_ok=True)
    for other in range(nodes):  # all meet before the first step
        while not there.with_name(f"{there.name[:-2]}-{other}").exists():
            time.sleep(0.02)
    print(f"node {rank} on {os.environ.get('SLURMD_NODENAME')} from step {step}, process {os.getpid()}", flush=True)
    while step < total and not asked:
        time.sleep(0.1)
        step += 1
        weights = hashlib.sha256(weights + b"%d" % step).digest()
        if rank == 0:
            row = {"current_steps": step, "total_steps": total, "loss": weights[0] / 255, "lr": 1e-3}
            with (output / "trainer_log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        if step in settings["toy_held"]:
            hold(output.parent, f"held-{step}-{rank}")
    if rank == 0:
        meeting.close()
    there.unlink()
    time.sleep(float(settings.get("toy_save", 0)))
    if rank == 0:
        save(output / f"checkpoint-{step}", step, weights)


def hold(run: Path, name: str) -> None:
    """Wait, but the first time alone: a second attempt that does the step again goes on."""
    if (run / name).exists():
        return
    (run / name).touch()
    while not asked and not (run / "go").exists():
        time.sleep(0.02)


def save(folder: Path, step: int, weights: bytes) -> None:
    """A whole checkpoint of an adapter."""
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    for name in ("adapter_config.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_text("{}")
    (folder / "scheduler.pt").write_bytes(b"")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def main() -> int:
    if "torch.distributed.run" in sys.argv:
        return launch(sys.argv[-1:])
    signal.signal(signal.SIGTERM, ask)
    train(yaml.safe_load(Path(sys.argv[-1]).read_text()))
    return 0


sys.exit(main())
