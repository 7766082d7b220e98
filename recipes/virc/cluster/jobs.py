"""A run on a cluster: its process there, the job's script, and its way into the queue and back into it."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import judge, slurm
from virc.cluster.ray import job as ray_job
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site, check_paths, read_site, site_of, site_path
from virc.core import processes
from virc.core.errors import EngineError, SetupError, UsageError
from virc.core.events import Reporter
from virc.core.files import contents, write_json, write_whole
from virc.core.plan import Plan
from virc.core.retry import retried
from virc.envs import hardware
from virc.runs import attempts, queue
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages.context import Place

_MAX_BYTES = 2**20
_PATIENCE = 600.0  # seconds that a requeue is tried again for: a controller that is restarted takes minutes
_PAUSE, _LONGEST = 5.0, 60.0  # seconds between two tries: the first, doubled each time; the most
_FRUITLESS = 3  # attempts in a row that saved nothing new

Target = Site | Cluster
"""The cluster that a run is for: a Slurm cluster, or a Ray cluster that is already running."""


def target(launcher: str, kind: str, site: Path | None, ray_address: str | None) -> Target | None:
    """The cluster to run on; None: this machine. A named site file implies the launcher `slurm`.

    Raises:
        UsageError: an option does not apply, or one is missing.
        ConfigError: the site file is wrong.
    """
    if launcher == "slurm" or (launcher == "local" and site is not None):
        return read_site(site, os.environ)
    if site is not None:
        raise UsageError("a site file is for Slurm, and the launcher is ray", "«--launcher slurm»")
    if launcher == "local":
        return None
    if launcher != "ray":
        raise UsageError(f"there is no launcher {launcher!r}", "choose local, slurm or ray")
    if kind != "rl":
        raise UsageError(f"Ray runs stages of kind rl, and this one is of kind {kind}", "«--launcher slurm»")
    return ray_job.cluster(ray_address)


def site_file(site: Path | None) -> str:
    """The site file of a run that is begun: the named one, else that of this user."""
    return str((site or site_path(os.environ)).absolute())


def on_this_machine(plan: Plan) -> Plan:
    """The plan of processes on this machine alone, on the GPUs that are counted."""
    return msgspec.structs.replace(plan, step=msgspec.structs.replace(plan.step, env=hardware.pinned(plan.step.env)))


def preview(plan: Plan, run: Run, info: Info, place: Place, versions: Mapping[str, str], target: Target) -> Plan:
    """The plan as the cluster gets it, the job's script among its files if there is one."""
    if isinstance(target, Cluster):
        return _on_target(plan, run, 1, info, place, versions, target)
    target = _fitting(target, info.settings)
    plan = _on_target(plan, run, 1, info, place, versions, target)
    script = {str(run.folder / slurm.SCRIPT): _script(run, info, target)}
    return msgspec.structs.replace(plan, files={**script, **plan.files})


def write(run: Run, folder: Path, info: Info, target: Target, report: Reporter) -> None:
    """Write the script of a run into its future folder; a Ray job has none, its nodes are checked when it starts.

    Raises:
        SetupError: the nodes do not see what the run needs.
    """
    (folder / slurm.LOGS).mkdir(exist_ok=True)
    if isinstance(target, Cluster):
        return
    check_seen(run, info, target, report)
    write_whole(folder / slurm.SCRIPT, _script(run, info, _fitting(target, info.settings)).encode())


def _script(run: Run, info: Info, site: Site) -> str:
    return slurm.job_script(run, info.settings, run.workspace, site, sys.executable, info.kind)


def check_seen(run: Run, info: Info, site: Site, report: Reporter) -> None:
    """Raises SetupError: the nodes do not see what the run needs."""
    named = {
        "the model": info.base, "the adapter": info.adapter, "the data": info.data, "the images": info.media,
        "virc's code": info.recipes, "the workspace": run.workspace, "the environment": Path(info.python).parent,
        "virc": Path(sys.executable).parent,
    }  # fmt: skip
    if doubt := check_paths({what: Path(path) for what, path in named.items() if path}, site):
        report.warn(doubt)


def move(run: Run, ray_address: str) -> None:
    """Let a run on a Ray cluster resume on another one that sees its folder too; other runs stay where they are."""
    info = runs.info(run)
    if info.launcher == "ray":
        site = msgspec.to_builtins(ray_job.cluster(ray_address))
        write_json(run.folder / "run.json", msgspec.structs.replace(info, site=site))


def placed(plan: Plan, run: Run, info: Info, number: int, place: Place, job: str | None) -> Plan:
    """The plan of an attempt with its process where the run belongs: here, on a Ray cluster, or on a job's nodes.

    `job` is the id of the Slurm job this process is in. Raises ConfigError if `run.json` does not name its cluster.
    """
    if not job and info.launcher != "ray":
        return on_this_machine(plan)
    given = slurm.given_cores(os.environ)  # to the job that this process is in
    target = slurm.fitting(site_of(info), info.settings, given) if job else ray_job.cluster_of(info)
    lines = contents(run.folder / "environment.txt", _MAX_BYTES).decode().splitlines()
    versions = dict(line.split("==", 1) for line in lines if "==" in line)
    return _on_target(plan, run, number, info, place, versions, target)


def _on_target(
    plan: Plan, run: Run, number: int, info: Info, place: Place, versions: Mapping[str, str], target: Target
) -> Plan:
    folder, kind, settings = run.attempt(number).absolute(), info.kind, info.settings
    if kind == "rl":
        paths = {
            "the model": place.base, "the adapter": place.adapter, "the data": place.data,
            "the images": place.media, "virc's code": place.recipes, "the run": place.output.parent,
        }  # fmt: skip
        plan = ray_job.checked(plan, folder, ray_job.requirements(settings, paths, versions))
    if isinstance(target, Cluster):
        return ray_job.on_cluster(plan, run, number, target)
    plan = ray_job.with_hidden(plan, run.folder, os.environ) if kind == "rl" else plan
    plan = slurm.on_nodes(plan, folder, settings, target, kind)
    return judge.with_script(plan, folder, settings, target, sys.executable)


def _fitting(site: Site, settings: Mapping[str, Any]) -> Site:
    if site.cpus:
        return site
    try:
        printed = processes.answer(slurm.nodes_step(site), queue.PATIENCE)
    except (SetupError, EngineError):  # sbatch will say why, if it comes to that
        return site
    return slurm.fitting(site, settings, slurm.cores_of(printed, site))


def submit(run: Run, report: Reporter) -> None:
    """Raises SetupError, EngineError: sbatch is not there, or refuses; the hint says how to submit the run again."""
    try:
        job = slurm.job_id(processes.output(slurm.submit_step(run)))
    except (EngineError, SetupError) as error:
        mended = f"mend {runs.info(run).site_file or 'the site file'}, then virc train --resume --name {run.name}"
        raise type(error)(error.message, f"{mended}; virc runs rm {run.name} removes the run") from None
    runs.write_state(run, job=job)
    report.note(f"job {job} was submitted; virc runs tail {run.name} follows it")


def requeue(run: Run, job: str, report: Reporter) -> None:
    """Put the job, whose time is nearly over, back into the queue.

    Raises:
        EngineError: the last attempts saved nothing new, and neither would the next; or Slurm refuses it, or its
            controller does not answer for ten minutes.
    """
    saved = [each.saved for each in attempts.attempts(run)[-_FRUITLESS - 1 :]]
    if len(saved) > _FRUITLESS and len(set(saved)) == 1:
        raise EngineError(
            f"{_FRUITLESS} times the job's time was over before it passed step {saved[0]}",
            "set a longer time in the site file",
        )
    report.note(f"saved at step {saved[-1]}; job {job} goes back into the queue")
    end = time.monotonic() + _PATIENCE

    def passing(error: Exception, pause: float) -> float | None:
        said = error.message if isinstance(error, EngineError) else ""
        if not said or slurm.is_queued(said) or slurm.is_final(said) or time.monotonic() + pause > end:
            return None
        report.warn(f"{said}; tried again in {pause:.0f} s")
        return pause

    try:
        retried(lambda: processes.output(slurm.requeue_step(job)), passing, first=_PAUSE, longest=_LONGEST)
    except EngineError as error:
        if not slurm.is_queued(error.message):
            raise EngineError(error.message, f"virc train --resume --name {run.name} submits another") from None
