"""Looks at every node of a Ray cluster, then becomes the engine's process; runs in the engine's environment.

`python -m virc.cluster.ray.nodes FILE.json -- COMMAND...`, where RAY_ADDRESS names the cluster. The file says
how many nodes there must be, and what each must see and have; as `ray_job.requirements` makes it.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import ray  # type: ignore[import-not-found]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # type: ignore[import-not-found]

from virc.cluster.ray.submit import refused
from virc.core import credentials

JOINING, ANSWERING = 300.0, 120.0
"""Seconds that nodes get to join the cluster, and one of them to answer."""
_LOOK = 1.0  # seconds


def faults(required: Mapping[str, Any]) -> list[str]:
    found = [f"does not see {what}: {path}" for what, path in required["paths"].items() if not Path(path).exists()]
    for name, version in required["versions"].items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "missing"
        if here != version:
            found.append(f"has {name} {here} instead of {version}")
    return found


def joined(nodes: int, gpus: int) -> list[dict[str, Any]]:
    """The nodes of the cluster that have `gpus` GPUs, once there are enough; fewer where no more join in time."""
    end, said = time.monotonic() + JOINING, False
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        fit = [node for node in alive if node["Resources"].get("GPU", 0) >= gpus]
        if len(fit) >= nodes or time.monotonic() > end:
            return fit
        if not said:
            print(
                f"virc waits up to {JOINING / 60:.0f} minutes for {nodes - len(fit)} more of {nodes} nodes", flush=True
            )
            said = True
        time.sleep(_LOOK)


def refusal(required: Mapping[str, Any]) -> str | None:
    nodes, gpus = required["nodes"], required["gpus"]
    there = joined(nodes, gpus)
    if len(there) < nodes:
        counted = f"{len(there)} node{'s' * (len(there) != 1)} with {gpus} GPU{'s' * (gpus != 1)} or more"
        return f"the cluster has {counted}, and the run needs {nodes}"
    look = ray.remote(num_cpus=0)(faults)
    for node in there:
        where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        name = node["NodeManagerAddress"]
        try:
            found = ray.get(look.options(scheduling_strategy=where).remote(dict(required)), timeout=ANSWERING)
        except ray.exceptions.GetTimeoutError:
            return f"the node {name} starts no process by {sys.executable}: does it see that?"
        except ray.exceptions.RayError as error:
            return f"the node {name} starts no process: {' '.join(str(error).split())[:300]}"
        if found:
            return f"the node {name} {'; '.join(found)}"
    return None


def main(file: str) -> int:
    """Check the nodes. What follows in this process has the keys of the run."""
    required: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    try:
        credentials.load()
    except PermissionError as error:
        return refused(f"the cluster's user cannot read the keys of the run, which are for yours alone: {error}")
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="warning")
    error_text = refusal(required)
    ray.shutdown()
    return refused(error_text) if error_text else 0


if __name__ == "__main__":
    of_command = sys.argv.index("--") + 1
    if code := main(sys.argv[1]):
        sys.exit(code)
    os.execv(sys.argv[of_command], sys.argv[of_command:])
