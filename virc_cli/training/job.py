"""A run as a job of a cluster: its script, its way into the queue, and back into it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc_cli import launch, output
from virc_recipes import attempts, runs, slurm
from virc_recipes.errors import ConfigError, EngineError
from virc_recipes.paths import write_whole
from virc_recipes.plan import Plan
from virc_recipes.runs import Info, Run
from virc_recipes.slurm import Site

_FRUITLESS = 3  # attempts one after another that saved nothing new


def preview(plan: Plan, run: Run, settings: Mapping[str, Any], site: Site) -> Plan:
    """The plan as a job gets it, with the script of the job among its files."""
    plan = slurm.on_nodes(plan, run.attempt(1), settings, site)
    script = {str(run.folder / slurm.SCRIPT): _script(run, settings, site)}
    return msgspec.structs.replace(plan, files={**script, **plan.files})


def write(run: Run, folder: Path, info: Info, site: Site) -> None:
    """Write the script of a run into its folder to be.

    Raises:
        SetupError: the nodes do not see what the run needs.
    """
    interpreters = {"the environment": Path(info.python), "virc": Path(sys.executable)}
    named = {
        "the model": info.base, "the adapter": info.adapter, "the data": info.data, "the images": info.media,
        "virc's code": info.recipes, "the workspace": Path.cwd(),
    }  # fmt: skip
    paths = {what: Path(path) for what, path in named.items() if path}
    doubt = slurm.check_paths({what: path.parent for what, path in interpreters.items()} | paths, site)
    if doubt:
        output.warn(doubt)
    write_whole(folder / slurm.SCRIPT, _script(run, info.settings, site).encode())
    (folder / slurm.LOGS).mkdir(exist_ok=True)


def _script(run: Run, settings: Mapping[str, Any], site: Site) -> str:
    return slurm.job_script(run, settings, Path.cwd(), site, sys.executable)


def submit(run: Run) -> None:
    """Hand a run's script to slurm.

    Raises:
        ConfigError: its job is in the queue, or runs.
        EngineError: slurm refuses it.
    """
    former = runs.state(run).job
    if former and former in launch.output(slurm.queue_step()).split():
        raise ConfigError(
            f"{run.name} is job {former} already", f"virc runs tail {run.name}, or scancel {former}"
        )
    job = slurm.job_id(launch.output(slurm.submit_step(run)))
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
    launch.output(slurm.requeue_step(job))
