"""`virc runs check`: whether the inputs of a run are unchanged."""

from pathlib import Path

from virc_cli.console import output
from virc_cli.console.options import RunName


def command(name: RunName) -> None:
    """Check whether rows, base or code have changed.

    Rows, images, base, chat protocol, tools, rewards and the site file are compared with those at the start of the run.
    `virc train --resume` compares them too, and refuses changes, other than in the site file.
    """
    from virc.cluster import submitting
    from virc.runs import run as runs
    from virc.training import inputs

    run = runs.find(Path.cwd(), name)
    info = runs.info(run)
    inputs.still_there(run, info)
    if changed := submitting.changed_site(info):
        output.note(f"{changed} has changed: the next job uses the new one")
    output.line(f"{run.name} has all that it was begun with, unchanged")
