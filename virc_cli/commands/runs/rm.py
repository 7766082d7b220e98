"""`virc runs rm`: delete runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli import output
from virc_cli.options import RunNames

if TYPE_CHECKING:
    from virc_recipes.runs import Run


def command(
    names: RunNames,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, not even about runs that later ones started from.")
    ] = False,
) -> None:
    """Delete runs. All their checkpoints, logs and metrics go; a run that is running is refused."""
    from virc_cli.progress import sized
    from virc_recipes import removal, runs
    from virc_recipes.paths import size_of

    workspace = Path.cwd()
    chosen = [runs.find(workspace, name) for name in dict.fromkeys(names)]
    for run in chosen:
        _check_idle(run)
        if not yes:
            _check_unused(run, chosen, workspace)
    sizes = [size_of(run.folder) for run in chosen]
    if not yes:
        _ask(chosen, sum(sizes))
    removal.sweep(workspace / runs.FOLDER)
    for run, size in zip(chosen, sizes, strict=True):
        removal.remove(run)
        output.note(f"removed {run.folder}, {sized(size)}")


def _check_idle(run: "Run") -> None:
    from virc_recipes import runs
    from virc_recipes.errors import ConfigError

    state = runs.state(run)
    if state.progress == "running":
        raise ConfigError(f"{run.name} is running", f"virc runs stop {run.name}")
    if runs.engine_lives(state):
        raise ConfigError(f"the engine of {run.name} is still running", f"virc runs stop {run.name} --now")


def _check_unused(run: "Run", chosen: "list[Run]", workspace: Path) -> None:
    from virc_recipes import removal
    from virc_recipes.errors import ConfigError

    later = [other.name for other in removal.started_from(run, workspace) if other not in chosen]
    if later:
        raise ConfigError(
            f"{', '.join(later)} started from {run.name}",
            "--yes deletes it all the same; a run whose base is gone cannot be resumed",
        )


def _ask(chosen: "list[Run]", size: int) -> None:
    from virc_cli.progress import sized
    from virc_recipes.errors import UsageError, VircError

    names = ", ".join(run.name for run in chosen)
    agreed = output.confirmed(f"delete {names}, {sized(size)}?")
    if agreed is None:
        raise UsageError(
            f"nobody is here to be asked whether to delete {names}", "--yes deletes without asking"
        )
    if not agreed:
        raise VircError("nothing was deleted")
