"""Like a trainer: counts steps in FOLDER/node-N, from where it stood; told to end it saves and ends well.

Where FOLDER/held is there it does one step, and waits to be told.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

folder, total, each = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
saved = folder / f"node-{os.environ['PET_NODE_RANK']}"
step = int(saved.read_text()) if saved.exists() else 0
asked = False


def ask(number: int, frame: FrameType | None) -> None:
    global asked  # noqa: PLW0603
    asked = True


signal.signal(signal.SIGTERM, ask)
if os.environ["PET_NODE_RANK"] == os.environ.get("TOY_BROKEN"):
    while not (folder / "began-0").exists():  # so that the other node has something to lose
        time.sleep(0.01)
    sys.exit(3)
os.write(1, f"from step {step}\n".encode())  # in one piece: the other node writes into the same log
while step < total and not asked:
    time.sleep(each)
    step += 1
    (folder / f"began-{os.environ['PET_NODE_RANK']}").touch()
    while step == 1 and (folder / "held").exists() and not asked:
        time.sleep(0.01)
saved.write_text(str(step))
