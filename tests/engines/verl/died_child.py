"""Runs in the engine's interpreter: a driver whose trainer waits for ever for a worker that is killed.

`died_child.py FILE NAME`: NAME is the class of the worker; prints the exit code and what the driver says at its end.
"""

import contextlib
import io
import json
import os
import secrets
import signal
import sys
import time
from typing import Any

import ray

from virc.engines.verl import start as verl_start
from virc.engines.verl.cause import TRAINER, ended_by_deaths


class Worker:
    def process(self) -> int:
        return os.getpid()


class TaskRunnerV1:
    """verl's trainer while it polls for rollouts, beside a worker that ended since nobody needed it any more."""

    def run(self, name: str) -> None:
        ray.get(ray.remote(Worker).remote().process.remote())
        worker = ray.remote(type(name, (Worker,), {})).remote()
        os.kill(ray.get(worker.process.remote()), signal.SIGKILL)
        time.sleep(600)


def run(config: Any, folder: str) -> None:
    """What `verl_start.run` does, with actors in the place of verl's."""
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # or Ray would keep one in the home folder
    ray.init(num_cpus=4, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
    with ended_by_deaths():
        trainer = ray.remote(TaskRunnerV1).options(name=TRAINER).remote()
        ray.get(trainer.run.remote(sys.argv[2]))


verl_start.run = run
with contextlib.redirect_stderr(io.StringIO()) as said:
    code = verl_start.main(sys.argv[1])
print(json.dumps({"code": code, "last": said.getvalue().splitlines()[-1]}))
