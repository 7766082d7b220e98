"""Starts vLLM's server for each line of options, a JSON list, in a fork of a process that has imported vLLM once."""

import json
import os
import sys
from pathlib import Path

from vllm.entrypoints.openai import api_server  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
from vllm.v1.worker import cpu_worker  # type: ignore[import-not-found, unused-ignore]  # noqa: F401

from virc.engines.vllm import cpu

for line in sys.stdin:
    log, *options = json.loads(line)
    if process := os.fork():
        print(process, flush=True)
        continue
    os.setsid()
    with Path(log).open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.argv[1:] = options
    cpu.main()
    os._exit(0)
