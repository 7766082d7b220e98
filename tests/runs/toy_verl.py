"""A process that logs and saves as verl does: step after step, and nothing of its own on a signal.

python toy_verl.py RUN FIRST LAST SAVE CORRELATION: steps FIRST to LAST, a checkpoint at each SAVE steps. TOY_SLOW,
`STEP:SECONDS`, makes one step slow, and TOY_STOPS, `STEP`, stops the process before a step as SIGSTOP does.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from test_rl_runs import save

from virc.runs.run import Run

run, (first, last, every), correlation = Run(Path(sys.argv[1])), map(int, sys.argv[2:5]), float(sys.argv[5])
slow = os.environ.get("TOY_SLOW", ":").split(":")[0]
with (run.folder / "logs" / "verl.jsonl").open("wb", buffering=0) as log:
    for step in range(first, last + 1):
        time.sleep(float(os.environ["TOY_SLOW"].split(":")[1]) if slow == str(step) else 0.3)
        if os.environ.get("TOY_STOPS") == str(step):
            os.kill(os.getpid(), signal.SIGSTOP)
        if step % every == 0:
            save(run, step)
        numbers = {
            "critic/score/mean": step / 10, "response_length/mean": 30.0, "actor/grad_norm": 1.0, "timing_s/step": 0.3,
            "training/rollout_actor_probs_pearson_corr": correlation if step >= 4 else 1.0,
        }  # fmt: skip
        log.write(json.dumps({"step": step, "data": numbers}).encode() + b"\n")
print("done", flush=True)
