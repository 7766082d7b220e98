"""Stands as the interpreter of an environment in place of verl's: it is Ray, and an engine that asks the judge once.

The engine ends badly with what the judge said, as verl's own start does; where `sleeps` is in its run's folder, after
as many seconds.
"""

import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path


def ray(port: int) -> None:
    """A head that listens."""
    with socket.socket() as head:
        head.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        head.bind(("0.0.0.0", port))
        head.listen()
        while True:
            head.accept()[0].close()


def ask(run: Path) -> str:
    """The judge's reply, asked as the reward says."""
    judge = json.loads((run / "reward.json").read_bytes())["reward"]["judge"]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "same?"}], "max_tokens": 2}
    headers = {"Authorization": f"Bearer {os.environ['VIRC_JUDGE_KEY']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{judge['endpoint']}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(json.loads(reply.read())["object"])


if "ray.scripts.scripts" in sys.argv:
    ray(int(next(word for word in sys.argv if word.startswith("--port=")).partition("=")[2]))
folder = Path(sys.argv[-1]).parents[2]
print(f"asked on {os.environ['SLURMD_NODENAME']}: {ask(folder)}", flush=True)
if (folder / "sleeps").exists():
    time.sleep(float((folder / "sleeps").read_text()))
sys.exit("virc: EngineError: the toy has nothing to learn")
