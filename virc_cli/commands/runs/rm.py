"""`virc runs rm`: delete runs."""

from pathlib import Path
from typing import Annotated

from virc.core.errors import ConfigError
from virc.core.text import sized
from virc_cli.console import output
from virc_cli.console.confirm import agree_to_delete, check_unused
from virc_cli.console.options import RunNames, flag


def command(
    names: RunNames, yes: Annotated[bool, flag("--yes", "Do not ask, not even about bases of later runs.")] = False
) -> None:
    """Delete runs with their checkpoints, logs and metrics.

    A run that is running, or whose job waits in Slurm's queue, is refused.
    """
    from virc.core.files import size_of
    from virc.models import provenance
    from virc.runs import delete, queue
    from virc.runs import run as runs

    workspace = Path.cwd()
    chosen = [runs.find(workspace, name) for name in dict.fromkeys(names)]
    states = [runs.state(run) for run in chosen]
    slurm = queue.ask(zip(chosen, states, strict=True))
    if slurm.error:
        output.warn(slurm.error)
    for run, state in zip(chosen, states, strict=True):
        if state.progress == "running":
            raise ConfigError(f"{run.name} is running", f"virc runs stop {run.name}")
        if (job := slurm.of(state)) and job.alive:
            raise ConfigError(f"{run.name} has a job in Slurm: {job.text}", f"virc runs stop {run.name} ends it")
        if runs.engine_lives(state):
            raise ConfigError(f"the engine of {run.name} is still running", f"virc runs stop {run.name} --now")
        if not yes:
            later = [other.name for other in delete.started_from(run, workspace) if other not in chosen]
            check_unused(run.name, later)
    sizes = [size_of(run.folder) for run in chosen]
    if not yes:
        agree_to_delete([run.name for run in chosen], sum(sizes))
    delete.sweep(workspace / runs.FOLDER)
    for run, size in zip(chosen, sizes, strict=True):
        delete.remove(run)
        output.note(f"removed {run.folder}, {sized(size)}")
        for folder, origin in provenance.merged_from(run.name, workspace).items():
            output.note(f"{folder.relative_to(workspace)}, merged from {origin.source}, stays")
