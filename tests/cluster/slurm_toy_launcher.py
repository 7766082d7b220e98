"""Like torchrun: one worker in a session of its own; told to end it kills the worker, which then saves nothing."""

import os
import signal
import subprocess
import sys
from types import FrameType

worker = subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True)


def end(number: int, frame: FrameType | None) -> None:
    worker.kill()
    sys.exit(1)


signal.signal(signal.SIGTERM, end)
print(f"node {os.environ['PET_NODE_RANK']} meets at {os.environ['PET_MASTER_ADDR']}", flush=True)
sys.exit(worker.wait())
