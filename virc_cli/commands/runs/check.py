"""`virc runs check`: whether what a run was begun with is as it was."""

from pathlib import Path

from virc_cli.console import output
from virc_cli.console.options import RunName


def command(name: RunName) -> None:
    """Look whether rows, base or code have changed.

    Rows, images, base, chat protocol, tools, rewards and the site file are compared with those that the run was begun
    with. `virc train --resume` does so too, and refuses what has changed; it takes the site file as it is.
    """
    from virc.cluster import submitting
    from virc.runs import run as runs
    from virc.training import inputs

    run = runs.find(Path.cwd(), name)
    info = runs.info(run)
    inputs.still_there(run, info)
    if changed := submitting.changed_site(info):
        output.note(f"{changed} has changed: the next job takes it as it is")
    output.line(f"{run.name} has all that it was begun with, unchanged")
