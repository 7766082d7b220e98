"""What `virc serve tiny` does until vLLM has answered on a CPU: `python benchmarks/serve.py [ROUNDS]`.

virc     as `virc serve` starts it
vLLM     by vLLM's own module, in eager mode too, with a cache of 4 GiB for keys and values

In turns, so that a busy machine slows both alike; each start is the first one of its folder of caches. The processor
time is that of all processes until they have ended, the memory that of all when the first answer is there, each shared
page counted once.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from virc.core.events import Reporter
from virc.core.plan import Plan
from virc.serving import address, vllm_process
from virc.serving.plan import ServeRequest, prepare

PORT = 8478
OWN: Mapping[str, str] = {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_WORKER_MULTIPROC_METHOD": ""}


class Start(NamedTuple):
    """Seconds until the first answer, and of the processors; GiB of memory."""

    wall: float
    cpu: float
    memory: float


def by_vllm(plan: Plan) -> Plan:
    """The same server as vLLM starts it."""
    module = {"virc.engines.vllm.cpu": "vllm.entrypoints.openai.api_server"}
    argv = tuple(module.get(word, word) for word in plan.step.argv)
    return msgspec.structs.replace(
        plan, step=msgspec.structs.replace(plan.step, argv=argv, env={**plan.step.env, **OWN})
    )


def memory_of_group(pid: int) -> float:
    """GiB of memory of the processes of a process's group, each shared page counted once."""
    kib = 0
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if os.getpgid(int(each.name)) == os.getpgid(pid):
                kib += int((each / "smaps_rollup").read_text().partition("Pss:")[2].split()[0])
    return kib / 2**20


def start(plan: Plan, url: str, folder: Path) -> Start:
    """Start a server in an empty folder, and end it."""
    step = msgspec.structs.replace(plan.step, env={**plan.step.env, "VLLM_CACHE_ROOT": str(folder)})
    plan = msgspec.structs.replace(plan, step=step)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with vllm_process.started(plan, url, "tiny", None, folder / "log", Reporter()) as process:
        wall, memory = time.perf_counter() - began, memory_of_group(process.pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Start(wall, cpu, memory)


def main(rounds: int = 3) -> None:
    """Print the medians."""
    served = prepare(ServeRequest("tiny", settings={"device": "cpu", "port": PORT}), Reporter())
    assert served.vllm
    plans = {"virc": served.vllm.plan, "vLLM": by_vllm(served.vllm.plan)}
    starts: dict[str, list[Start]] = {name: [] for name in plans}
    for _ in range(rounds):
        for name, plan in plans.items():
            with tempfile.TemporaryDirectory() as folder:
                starts[name].append(start(plan, address.url(served.config), Path(folder)))
            print(f"{name}: {starts[name][-1]}", file=sys.stderr, flush=True)
    for name, found in starts.items():
        wall, cpu, memory = map(median, zip(*found, strict=True))
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of processor time, {memory:.1f} GiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
