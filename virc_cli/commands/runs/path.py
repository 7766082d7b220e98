"""`virc runs path`: the folder of a run or of one of its checkpoints."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import completion, output
from virc_cli.console.options import argument


def command(
    name: Annotated[str, argument("NAME[@STEP]", "A run, or a step it saved at.", autocompletion=completion.runs)],
) -> None:
    """Print the folder of a run or checkpoint."""
    from virc.runs import run as runs
    from virc.runs.checkpoints import checkpoint

    named, at, step = name.partition("@")
    run = runs.find(Path.cwd(), named)
    output.line(str(checkpoint(run, step).folder if at else run.folder))
