"""What `virc serve tiny` does until vLLM has answered on a CPU: `python benchmarks/serve.py [ROUNDS]`.

virc     as `virc serve` starts it
vLLM     by vLLM's own module, in eager mode too, with a cache of 4 GiB for keys and values

In turns, so that a busy machine slows both alike; each start is the first one of its folder of caches. The processor
time is that of all processes until they have ended, the memory that of all when the first answer is there, each shared
page counted once.
"""

import re
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from virc.core.events import Event, Reporter
from virc.core.plan import Plan
from virc.core.processes import memory_of_tree
from virc.serving import address, vllm_process
from virc.serving.plan import ServeRequest, prepare

PORT = 8478
OWN: Mapping[str, str] = {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_WORKER_MULTIPROC_METHOD": ""}


class Start(NamedTuple):
    """Seconds until the first answer, of each stage, and of the processors; GiB of memory."""

    wall: float
    cpu: float
    memory: float
    stages: dict[str, float]


def by_vllm(plan: Plan) -> Plan:
    """The same server as vLLM starts it."""
    module = {"virc.engines.vllm.cpu": "vllm.entrypoints.openai.api_server"}
    argv = tuple(module.get(word, word) for word in plan.step.argv)
    return msgspec.structs.replace(
        plan, step=msgspec.structs.replace(plan.step, argv=argv, env={**plan.step.env, **OWN})
    )


def start(plan: Plan, url: str, folder: Path) -> Start:
    """Start a server in an empty folder, and end it."""
    step = msgspec.structs.replace(plan.step, env={**plan.step.env, "VLLM_CACHE_ROOT": str(folder)})
    plan = msgspec.structs.replace(plan, step=step)
    said: list[Event] = []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with vllm_process.started(plan, url, "tiny", None, folder / "log", Reporter(said.append)) as process:
        wall, memory = time.perf_counter() - began, memory_of_tree(process.pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    line = next(event.text for event in said if event.kind == "note")
    stages = {name: float(took) for name, took in re.findall(r"([A-Za-z][A-Za-z ]*) ([\d.]+) s", line.split(": ")[1])}
    return Start(wall, cpu, memory, stages)


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
        wall, cpu, memory = (median(column) for column in list(zip(*found, strict=True))[:3])
        names = dict.fromkeys(stage for one in found for stage in one.stages)
        stages = (f"{stage} {median(one.stages.get(stage, 0) for one in found):.1f}" for stage in names)
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of processor time, {memory:.1f} GiB; {', '.join(stages)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
