"""A run on a cluster: its process there, a job's script, its way into the queue, and back into it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import ray as ray_job
from virc.cluster import slurm
from virc.cluster.ray import Cluster
from virc.cluster.slurm import Site
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, UsageError
from virc.core.files import contents, write_json, write_whole
from virc.core.plan import Plan
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc_cli.console import output

Versions = Mapping[str, str]
_MOST_BYTES = 2**20
_FRUITLESS = 3  # attempts one after another that saved nothing new


Where = Site | Cluster
"""The cluster that a run is for: one of Slurm, or one of Ray that runs already."""


def where(launcher: str, kind: str, site: Path | None, ray_address: str | None) -> Where | None:
    """The cluster that is asked for; None: this machine.

    Args:
        kind: of the stage.
        site: file with what a Slurm cluster wants; None: this user's own.
        ray_address: where a Ray cluster takes jobs.

    Raises:
        UsageError: an option means nothing here, or one is missing.
        ConfigError: the site file is wrong.
    """
    if launcher == "slurm":
        return slurm.read_site(site, os.environ)
    if launcher != "ray":
        return None
    if kind != "rl":
        raise UsageError(f"Ray runs stages of kind rl, and this one is of kind {kind}", "--launcher slurm")
    return ray_job.cluster(ray_address)


def preview(plan: Plan, run: Run, resolved: Resolved, place: Place, versions: Versions, there: Where) -> Plan:
    """The plan as the cluster gets it; with the script of the job among its files, if there is one."""
    settings = msgspec.to_builtins(resolved.config)
    plan = _moved(plan, run, 1, resolved.kind, settings, place, versions, there)
    if isinstance(there, Cluster):
        return plan
    script = {str(run.folder / slurm.SCRIPT): _script(run, resolved.kind, settings, there)}
    return msgspec.structs.replace(plan, files={**script, **plan.files})


def write(run: Run, folder: Path, info: Info, there: Where) -> None:
    """Write the script of a run into its folder to be; a Ray job has none, and its nodes are looked at when it starts.

    Raises:
        SetupError: the nodes do not see what the run needs.
    """
    (folder / slurm.LOGS).mkdir(exist_ok=True)
    if isinstance(there, Cluster):
        return
    interpreters = {"the environment": Path(info.python), "virc": Path(sys.executable)}
    named = {
        "the model": info.base, "the adapter": info.adapter, "the data": info.data, "the images": info.media,
        "virc's code": info.recipes, "the workspace": Path.cwd(),
    }  # fmt: skip
    paths = {what: Path(path) for what, path in named.items() if path}
    doubt = slurm.check_paths({what: path.parent for what, path in interpreters.items()} | paths, there)
    if doubt:
        output.warn(doubt)
    write_whole(folder / slurm.SCRIPT, _script(run, info.kind, info.settings, there).encode())


def move(run: Run, ray_address: str) -> None:
    """Let a run on a Ray cluster go on on another, whose nodes see its folder too; other runs have no such address.

    Raises:
        UsageError: no cluster takes jobs at such an address.
    """
    info = runs.info(run)
    if info.launcher == "ray":
        there = msgspec.to_builtins(ray_job.cluster(ray_address))
        write_json(run.folder / "run.json", msgspec.structs.replace(info, site=there))


def placed(plan: Plan, run: Run, info: Info, number: int, place: Place, job: str | None) -> Plan:
    """The plan of an attempt, its process where the run is to be: here, on a Ray cluster, or on a job's nodes.

    Args:
        number: of the attempt.
        job: id of the Slurm job this process is in.

    Raises:
        ConfigError: the run's `run.json` does not say which cluster it is for.
    """
    if not job and info.launcher != "ray":
        return plan
    there = slurm.site_of(info) if job else ray_job.cluster_of(info)
    lines = contents(run.folder / "environment.txt", _MOST_BYTES).decode().splitlines()
    versions = dict(line.split("==", 1) for line in lines if "==" in line)
    return _moved(plan, run, number, info.kind, info.settings, place, versions, there)


def _moved(
    plan: Plan, run: Run, number: int, kind: str, settings: Mapping[str, Any], place: Place, versions: Versions,
    there: Where,
) -> Plan:  # fmt: skip
    folder = run.attempt(number).absolute()
    if kind == "rl":
        paths = {
            "the model": place.base, "the adapter": place.adapter, "the data": place.data,
            "the images": place.media, "virc's code": place.recipes, "the run": place.output.parent,
        }  # fmt: skip
        plan = ray_job.checked(plan, folder, ray_job.asked_of(settings, paths, versions))
    if isinstance(there, Cluster):
        return ray_job.on_cluster(plan, run, number, there)
    return slurm.on_nodes(plan, folder, settings, there, kind)


def _script(run: Run, kind: str, settings: Mapping[str, Any], site: Site) -> str:
    return slurm.job_script(run, settings, Path.cwd(), site, sys.executable, kind)


def submit(run: Run) -> None:
    """Hand a run's script to slurm.

    Raises:
        ConfigError: its job is in the queue, or runs.
        EngineError: slurm refuses it.
    """
    former = runs.state(run).job
    if former and former in processes.output(slurm.queue_step()).split():
        raise ConfigError(
            f"{run.name} is job {former} already", f"virc runs tail {run.name}, or scancel {former}"
        )
    job = slurm.job_id(processes.output(slurm.submit_step(run)))
    runs.write_state(run, job=job)
    output.note(f"job {job} was submitted; virc runs tail {run.name} follows it")


def requeue(run: Run, job: str) -> None:
    """Put the job, whose time is nearly over, back into the queue.

    Raises:
        EngineError: the last attempts saved nothing new, and neither would the next.
    """
    saved = [each.saved for each in attempts.attempts(run)[-_FRUITLESS - 1 :]]
    if len(saved) > _FRUITLESS and len(set(saved)) == 1:
        raise EngineError(
            f"{_FRUITLESS} times the job's time was over before it came further than step {saved[0]}",
            "a longer time: in the site file",
        )
    output.note(f"saved at step {saved[-1]}; job {job} goes back into the queue")
    processes.output(slurm.requeue_step(job))
