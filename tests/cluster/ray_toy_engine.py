"""Like verl on a cluster: a driver that joins it, one task on every node, and steps that go on from a file.

`ray_toy_engine.py FOLDER STEPS SECONDS`; run in the engine's environment. Where FOLDER/held is there it waits after its
first step.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import ray  # type: ignore[import-not-found]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # type: ignore[import-not-found]

folder, steps, each = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def keys() -> list[str]:
    """The keys that a process has: of the judge, and of a tool."""
    return [os.environ.get(name, "") for name in ("VIRC_JUDGE_KEY", "DETECTOR_KEY")]


def seen() -> dict[str, str]:
    """What a worker has: its interpreter, variables of the plan, and code of ours and of the run."""
    import mine  # type: ignore[import-not-found]

    from virc.tools import registry as tools

    return {
        "python": sys.executable, "note": os.environ["NOTE"],
        "pages": os.environ.get("VIRC_PAGES", ""), "controller": os.environ.get("VIRC_TOOL_CONTROLLER", ""),
        "mine": mine.__file__, "recipes": str(Path(tools.__file__).parents[1]),
        "node": ray.get_runtime_context().get_node_id(),
    }  # fmt: skip


class Worker:
    """An actor, as most of verl's workers are."""

    def keys(self) -> list[str]:
        """The keys it has."""
        return keys()


# as verl does: with variables of its own beside those of the job
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, runtime_env={"env_vars": {"TOY": "1"}})
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
task = ray.remote(num_cpus=0)(seen)
nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
where = [NodeAffinitySchedulingStrategy(node_id=node, soft=False) for node in nodes]
found = ray.get([task.options(scheduling_strategy=each).remote() for each in where])
(folder / "seen.json").write_text(json.dumps(found))
asked = ray.get([ray.remote(num_cpus=0)(keys).remote(), ray.remote(num_cpus=0)(Worker).remote().keys.remote()])
(folder / "keys").write_text(json.dumps([keys(), *asked]))
saved = folder / "saved"
step = int(saved.read_text()) if saved.exists() else 0
print(f"from step {step}", flush=True)
while step < steps:
    time.sleep(each)
    step += 1
    saved.with_name("new").write_text(str(step))  # every step, for a signal saves nothing
    saved.with_name("new").replace(saved)  # and it may be killed anywhere
    while step == 1 and (folder / "held").exists():
        time.sleep(0.02)
print("done", flush=True)
