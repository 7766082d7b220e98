"""A Slurm job before it is submitted: what is checked of it, and its script, written again from the site file."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import check, jobs, slurm
from virc.cluster.jobs import Target
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site, check_paths, read_site, site_of, site_path
from virc.core.errors import ConfigError, EngineError, SetupError, UsageError
from virc.core.events import Reporter
from virc.core.files import is_file, write_json
from virc.core.plan import Plan
from virc.runs import queue
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages.context import Place


def check_slurm(target: Target | None, site: Path | None, report: Reporter) -> None:
    """Check, before hours of work for it, that a job can be submitted; what cannot be checked is a warning.

    Raises:
        ConfigError: a value of the site file does not fit the cluster.
        SetupError: this machine cannot submit jobs.
    """
    if isinstance(target, Site):
        check_sbatch()
        if doubt := check.check_site(target, jobs.site_file(site)):
            report.warn(doubt)


def check_sbatch() -> None:
    """Raise SetupError if this machine cannot submit jobs."""
    if shutil.which("sbatch") is None:
        raise SetupError("sbatch cannot be started: this machine has no Slurm", "--no-submit writes the script alone")


def try_site(site: Path, report: Reporter) -> Site:
    """Read a site file and check it against the cluster of this machine, if it has one.

    Raises:
        ConfigError: it is wrong, or does not fit the cluster.
    """
    found = read_site(site, os.environ)
    if doubt := check.check_site(found, str(site)):
        report.warn(doubt)
    return found


def try_job(plan: Plan, run: Run, place: Place, target: Target, site: Path | None, report: Reporter) -> None:
    """Check a previewed job: its site file and script against Slurm, its paths against the folders that nodes see.

    Raises:
        ConfigError: Slurm refuses it.
        SetupError: the nodes do not see a path.
    """
    if isinstance(target, Cluster):
        return
    file = jobs.site_file(site)
    if doubt := check.check_site(target, file) or check.check_script(plan.files[str(run.folder / slurm.SCRIPT)], file):
        report.warn(doubt)
    paths = {
        "the model": place.base, "the adapter": place.adapter, "the images": place.media,
        "virc's code": place.recipes, "the workspace": run.workspace, "the environment": place.python.parent,
        "virc": Path(sys.executable).parent,
    }  # fmt: skip
    if doubt := check_paths({what: path for what, path in paths.items() if path}, target):
        report.warn(doubt)


def check_free(run: Run, submitting: bool) -> None:
    """Check that a run may get another job.

    Args:
        submitting: False: its script is only written.

    Raises:
        ConfigError: it has finished, or its job waits or runs.
        SetupError: this machine cannot submit jobs.
        EngineError: Slurm does not answer.
    """
    if submitting:
        check_sbatch()
    state = runs.state(run)
    if state.progress == "finished":
        raise ConfigError(f"the run {run.name} has finished", f"virc runs show {run.name}")
    former, unanswered = queue.job_of(run, state)
    if unanswered and submitting:
        raise EngineError(f"{run.name} may have a job in the queue: {unanswered}", "try it again when Slurm answers")
    if former and former.alive:
        follow = f"virc runs tail {run.name} follows it, virc runs stop {run.name} ends it"
        raise ConfigError(f"{run.name} has a job already: {former.text}", follow)


def renew(run: Run, settings: Mapping[str, Any], site: Path | None, report: Reporter) -> None:
    """Read the site file of a run anew, and write its script again; the run's own settings stay.

    Args:
        settings: of the run's stage.
        site: another file; None: the one that the run was begun with.

    Raises:
        ConfigError: the site file is wrong.
        SetupError: the nodes do not see what the run needs, or have too few GPUs.
    """
    info = runs.info(run)
    file = site.absolute() if site else Path(info.site_file or site_path(os.environ))
    changed = info
    if site or is_file(file):
        changed = msgspec.structs.replace(
            info, site=msgspec.to_builtins(read_site(file, os.environ)), site_file=str(file)
        )
    elif site_of(info) != Site():
        why = f"{file} is gone" if info.site_file else f"the site file of {run.name} is not known"
        report.warn(f"{why}: the job gets the options that the run was begun with", "--site FILE")
    target = site_of(changed)
    check.check_need(target, str(file), settings)
    jobs.write(run, run.folder, msgspec.structs.replace(changed, settings=dict(settings)), target, report)
    write_json(run.folder / "run.json", changed)


def changed_site(info: Info) -> str | None:
    """The site file of a run, where it says something else than when the run or its newest job was begun."""
    file = info.site_file
    changed = file and is_file(file) and msgspec.to_builtins(read_site(Path(file), os.environ)) != info.site
    return file if changed else None


def refuse_site(run: Run, site: Path | None) -> None:
    """Raise UsageError if a site file is named for a run that is not one of Slurm."""
    if site is not None:
        launcher = runs.info(run).launcher
        raise UsageError(f"a site file is for Slurm, and {run.name} was begun with the launcher {launcher}")
