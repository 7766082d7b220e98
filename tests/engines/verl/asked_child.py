"""Runs in the engine's interpreter: the engine's process, asked to end while it waits for Ray."""

import json
import os
import secrets
import signal
import sys
import threading
import time
from typing import Any

import ray

from virc.engines.verl import start as verl_start


def run(config: Any, folder: str) -> None:
    """What `verl_start.run` does, with a task in verl's place."""
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # or Ray would keep one in the home folder
    ray.init(num_cpus=1, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
    verl_start._heed_signals()
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    ray.get(ray.remote(num_cpus=0)(lambda: time.sleep(60)).remote())


verl_start.run = run
print(json.dumps(verl_start.main(sys.argv[1])))
