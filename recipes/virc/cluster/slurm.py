"""Slurm: a run as a batch job that saves before its time is over, goes back into the queue, and resumes.

On the first node the job's script becomes `virc train --resume`, which starts a script on every node by one `srun`: the
engine itself, whose processes torchrun brings together; or Ray, which the engine then joins on the first node. The
batch step alone is notified of the end, by USR1. `srun` forwards USR1 to those scripts, which notify the engine; on a
TERM it kills all of them.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster.site import Site, judge_of, notice
from virc.core.errors import EngineError
from virc.core.files import part
from virc.core.plan import Plan, Step
from virc.core.text import plain
from virc.envs.hardware import VISIBLE
from virc.runs.run import Run
from virc.systems.kinds import runs_in

SCRIPT = "slurm.sh"
NODE_SCRIPT = "node.sh"
LOGS = "logs"

_LOST, _GUARD = "lost-", "slurm_guard.sh"
_NODES = {"llamafactory": "slurm_node.sh", "verl": "slurm_ray_node.sh"}
"""Engine -> what runs on each node."""
_MEETING = {
    "llamafactory": (
        "# Where the processes of all nodes meet.",
        'VIRC_MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "VIRC_MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))",
        "export VIRC_MASTER_ADDR VIRC_MASTER_PORT",
    ),
    "verl": (
        "# Where the nodes meet: Ray on the first of them.",
        'VIRC_RAY_HOST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "VIRC_RAY_PORT=$((20000 + SLURM_JOB_ID % 10000))",
        "RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')",
        "export VIRC_RAY_HOST VIRC_RAY_PORT RAY_AUTH_TOKEN RAY_AUTH_MODE=token",
    ),
}
_FINAL = r"invalid job id|presently disabled|permission denied|already completing or completed"
_END = 2**14  # bytes of a log's end in which srun's last words are
_QUEUED = "Job is pending execution"
_RAY_CORES = 8  # for each device: its actor, its sampler, and their share of verl's helpers
_ASKED_FOR = (16, 4)  # cores that verl's processes ask Ray for, and more of them for each device; most only wait


def job_script(
    run: Run, settings: Mapping[str, Any], workspace: Path, site: Site, python: str, kind: str = "sft"
) -> str:
    """The batch script of a run, which is also what resumes it. Its log needs the folder `run.folder / LOGS`."""
    command = shlex.join((python, "-m", "virc_cli", "train", "--resume", "--name", run.name))
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in (*_options(run, settings, site), *site.extra)),
        "",
        "trap '' USR1  # until virc takes it",
        f"cd {shlex.quote(str(workspace))} || exit",
        *site.setup,
        "export HF_HUB_OFFLINE=1",
        "export VIRC_JOB=$SLURM_JOB_ID",
        *_MEETING[runs_in(kind).engine],
        "# In place of this shell, so that the signal before the end reaches it.",
        f"exec {command}",
    ]
    return "\n".join(lines) + "\n"


def _options(run: Run, settings: Mapping[str, Any], site: Site) -> list[str]:
    log = str(run.folder / LOGS).replace("%", "%%") + "/slurm-%j.log"
    gres = site.gres.replace("{devices}", str(devices_of_node(settings, site)))
    values = {
        "job-name": run.name,
        "nodes": settings["nodes"] + _own_node(settings, site),
        "ntasks-per-node": 1,
        "cpus-per-task": cpus_of_node(settings, site),
        "gres": gres if settings["device"] == "cuda" else None,
        "mem": site.memory,
        "time": site.time,
        "account": site.account,
        "partition": site.partition,
        "qos": site.qos,
        "constraint": site.constraint,
        "output": log,
        "open-mode": "append",
        "signal": f"B:USR1@{notice(site)}",
    }
    return [f"--{key}={_quoted(str(value))}" for key, value in values.items() if value is not None] + ["--requeue"]


def cpus_of_node(settings: Mapping[str, Any], site: Site) -> int:
    """Cores that a job asks of each node, its judge's included."""
    each: int = max(1, settings.get("loaders", _RAY_CORES))
    return site.cpus or devices_of_node(settings, site) * each


def devices_of_node(settings: Mapping[str, Any], site: Site) -> int:
    """Devices of a node: the run's, and those of a judge that has no node of its own."""
    devices: int = settings["devices"]
    judge = judge_of(settings, site)
    return devices + (judge.gpus or 0 if judge else 0)


def _own_node(settings: Mapping[str, Any], site: Site) -> int:
    judge = judge_of(settings, site)
    return int(judge is not None and judge.gpus is None)


def fitting(site: Site, settings: Mapping[str, Any], most: int | None) -> Site:
    """The site whose jobs ask a node for no more than `most` cores; one that names `cpus` stays as it is."""
    if site.cpus or most is None:
        return site
    return msgspec.structs.replace(site, cpus=min(most, cpus_of_node(settings, site)))


def nodes_step(site: Site) -> Step:
    """What prints the partition and the cores of each node that the site's jobs may run on; `cores_of` reads it."""
    chosen = ("--partition", site.partition) if site.partition else ()
    return Step(("sinfo", "--noheader", "--Node", "--format=%P %c", *chosen), "list the nodes")


def cores_of(printed: str, site: Site) -> int | None:
    """The cores of the largest node of the site's partition, or of the default one; None where none is listed."""
    rows = [line.rpartition(" ") for line in printed.splitlines()]
    usual = [row for row in rows if site.partition or row[0].strip().endswith("*")] or rows
    return max((int(cores) for *_, cores in usual if cores.isdecimal()), default=None)


def _quoted(value: str) -> str:
    """A value as sbatch reads it from a script: in quotes, a backslash before a quote and before itself."""
    if re.fullmatch(r"[\w@%+=:,./~*\[\]{}&|()!^-]+", value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def on_nodes(plan: Plan, folder: Path, settings: Mapping[str, Any], site: Site, kind: str = "sft") -> Plan:
    """The same attempt, with its process on every node of the job; for RL on the first, and Ray on all of them.

    One `srun` starts a script on every node, and ends when all have ended, or one has failed.

    Args:
        plan: its process is the one of each node; torchrun learns from `node.sh` which node that is.
    """
    script, nodes = folder / NODE_SCRIPT, str(settings["nodes"])
    first = ("--relative", "0") if _own_node(settings, site) else ()  # the judge has the last node
    argv = (
        "srun", "--kill-on-bad-exit=1", "--export=ALL", "--mpi=none", "--nodes", nodes, "--ntasks", nodes,
        "--ntasks-per-node", "1", "--cpus-per-task", str(cpus_of_node(settings, site)), *first,
        *_container(site, settings["device"]),        "bash", str(script),
    )  # fmt: skip
    step = Step(argv, "train on the nodes of the job", saves_on="SIGUSR1")
    files = {**plan.files, str(script): node_script(plan.step, kind, settings["devices"], cpus_of_node(settings, site))}
    return msgspec.structs.replace(plan, step=step, files=files)


def node_script(step: Step, kind: str = "sft", devices: int = 1, cores: int = 1) -> str:
    """What runs on each node: the step's process, and how it is asked to save; and for RL the resources of Ray."""
    variables = [_exported(name, value) if value else f"unset {name}" for name, value in step.env.items()]
    always, each = _ASKED_FOR
    of_ray = [f"devices={devices}", f"cores={max(cores, always + each * devices)}"]
    of_kind = of_ray if kind == "rl" else [f"through={'yes' if step.through else 'no'}"]
    saves_on = f"saves_on={step.saves_on.removeprefix('SIG')}"
    head = ["#!/bin/bash", *variables, f"engine=({shlex.join(step.argv)})", *of_kind, saves_on]
    parts = (_GUARD, _NODES[runs_in(kind).engine])
    return "\n".join(head) + "\n" + "".join(Path(__file__).with_name(part).read_text("utf-8") for part in parts)


def _exported(name: str, value: str) -> str:
    """A variable in the node's shell; numbers of GPUs are of those that Slurm gave to the job."""
    if name != VISIBLE or value.startswith("-"):
        return f"export {name}={shlex.quote(value)}"
    given = ",".join(f"${{given[{number}]-{number}}}" for number in value.split(","))
    return f'IFS=, read -ra given <<<"${{{name}-}}"; export {name}={given}'


def lost(folder: Path) -> list[str]:
    """The numbers of the nodes whose step daemon was killed in an attempt: srun waits for them without end."""
    return sorted(path.name.removeprefix(_LOST) for path in folder.glob(f"{_LOST}*"))


def _container(site: Site, device: str) -> tuple[str, ...]:
    if site.container_image is None:
        return ()
    mounts = ",".join(site.container_mounts)
    if site.container == "pyxis":
        return (f"--container-image={site.container_image}", *((f"--container-mounts={mounts}",) if mounts else ()))
    gpu = ("--nv",) if device == "cuda" else ()
    return ("apptainer", "exec", *gpu, *(("--bind", mounts) if mounts else ()), site.container_image)


def failed_node(log: Path) -> str | None:
    """The node whose failure ended an attempt, as srun says it in the log; None where there is none."""
    found = re.search(r"^srun: error: Node failure on (\S+)", part(log, -_END, _END), re.MULTILINE)
    return found[1] if found else None


def submit_step(run: Run) -> Step:
    return Step(("sbatch", "--parsable", str(run.folder / SCRIPT)), "submit the job")


def job_id(printed: str) -> str:
    """The id that `sbatch --parsable` prints, with or without the cluster's name. Raises EngineError: there is none."""
    last = printed.strip().rpartition("\n")[2]
    found = re.fullmatch(r"(\d+)(;.*)?", last)
    if not found:
        raise EngineError(f"sbatch named no job: {plain(printed) or 'it printed nothing'}")
    return found[1]


def requeue_step(job: str) -> Step:
    """What puts a job back into the queue; slurm ends the job while it is under way."""
    return Step(("scontrol", "requeue", job), "put the job back into the queue")


def is_final(error: str) -> bool:
    return re.search(_FINAL, error, re.IGNORECASE) is not None


def is_queued(error: str) -> bool:
    """Whether a requeue was refused because an earlier one, whose answer did not arrive, has succeeded."""
    return _QUEUED in error


def given_cores(env: Mapping[str, str]) -> int | None:
    """The cores of each node of the job that this process is in; None where Slurm does not say so."""
    cores = env.get("SLURM_CPUS_PER_TASK", "")
    return int(cores) if cores.isdecimal() else None
