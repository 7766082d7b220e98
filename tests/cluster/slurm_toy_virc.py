"""Like `virc train --resume` in a job: one attempt on every node, saved and requeued when the job is told to end."""

import os
import signal
import sys
from pathlib import Path

import slurm_cases

from virc.cluster import slurm
from virc.core import processes
from virc.core.files import write_whole
from virc.core.plan import Plan, Step
from virc.core.processes import in_job
from virc.runs.run import Run

assert sys.argv[1:] == ["-m", "virc_cli", "train", "--resume", "--name", "toy"], sys.argv
folder, nodes, steps, each = (Path.cwd(), int(os.environ["TOY_NODES"]), os.environ["TOY_STEPS"], os.environ["TOY_EACH"])
here = Path(__file__).parent
run = Run(folder / "runs" / "toy")
settings, site = {**slurm_cases.SMALL, "nodes": nodes}, slurm_cases.SITES["bare"]
argv = (sys.executable, here / "slurm_toy_launcher.py", here / "slurm_toy_worker.py", folder, steps, each)
plan = slurm.on_nodes(Plan(Step(tuple(map(str, argv)), "count", through=True), {}), run.attempt(1), settings, site)
for path, text in plan.files.items():
    write_whole(Path(path), text.encode())

asked: list[int] = []
signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
with processes.started(plan.step, run.log(1)) as process:
    while (code := process.wait(0.05)) is None:
        if asked and asked.pop():
            process.ask_to_save()
print(f"exit code {code} on {os.environ['SITE']}", flush=True)
counts = [int(path.read_text()) for path in sorted(folder.glob("node-*"))]
job = in_job(os.environ)
if code == 0 and min(counts) < int(steps) and job:
    processes.run(slurm.requeue_step(job), run.folder / "requeue.log")
    signal.pause()  # slurm ends it
sys.exit(code)
