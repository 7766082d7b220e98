"""Like `virc train --resume` of RL in a job: Ray on every node, the engine on the first, told to end in time."""

import os
import signal
import sys
from pathlib import Path

import ray_cluster
import slurm_cases

from virc.cluster import slurm
from virc.cluster.ray import job as ray_job
from virc.cluster.site import Site
from virc.core import processes
from virc.core.files import write_whole
from virc.core.plan import Plan, Step
from virc.core.processes import in_job
from virc.runs.run import Run

assert sys.argv[1:] == ["-m", "virc_cli", "train", "--resume", "--name", "toy"], sys.argv
folder, steps, each = Path.cwd(), os.environ["TOY_STEPS"], os.environ["TOY_EACH"]
run = Run(folder / "runs" / "toy")
number = 1 + len(list((run.folder / "logs").glob("attempt_*")))
python = str(ray_cluster.python())
paths = os.pathsep.join((str(ray_cluster.recipes()), str(run.folder / "code")))
engine = Step(
    (python, str(Path(__file__).with_name("ray_toy_engine.py")), str(run.folder), steps, each), "count",
    {"PYTHONPATH": paths, "NOTE": "it's mine", "RAY_worker_niceness": "0"},
)  # fmt: skip
required_of_nodes = ray_job.requirements(slurm_cases.RL_SMALL, {"the run": run.folder}, {})
plan = ray_job.checked(Plan(engine, {}), run.attempt(number), required_of_nodes)
plan = slurm.on_nodes(plan, run.attempt(number), slurm_cases.RL_SMALL, Site(cpus=8), "rl")
for path, text in plan.files.items():
    write_whole(Path(path), text.encode())

asked: list[int] = []
signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
with processes.started(plan.step, run.log(number)) as process:
    while (code := process.wait(0.05)) is None:
        if asked and asked.pop():
            process.ask_to_save()
print(f"exit code {code}", flush=True)
job = in_job(os.environ)
if code == 128 + signal.SIGTERM and job:
    processes.run(slurm.requeue_step(job), run.folder / "requeue.log")
    signal.pause()  # slurm ends it
sys.exit(code)
