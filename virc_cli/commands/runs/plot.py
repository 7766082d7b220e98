"""`virc runs plot`: pictures of the metrics."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import RunNames


def command(
    names: RunNames,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Target file; default: plots/ in the first run.")
    ] = None,
) -> None:
    """Plot the metrics of runs as a PNG.

    Loss or reward with its terms, lengths and speed; several runs go into the same axes.
    """
    from virc.core.errors import UsageError, VircError
    from virc.core.files import write_whole
    from virc.core.text import clause
    from virc.runs import plots
    from virc.runs import run as runs

    if to and to.suffix.lower() != ".png":
        raise UsageError(f"pictures are PNG, and {to} does not end in .png", f"--to {to}.png")
    chosen = [runs.find(Path.cwd(), name) for name in dict.fromkeys(names)]
    one = len(chosen) == 1
    path = to or chosen[0].folder / "plots" / ("metrics.png" if one else "compared.png")
    picture = plots.draw(chosen, chosen[0].name if one else f"{len(chosen)} runs")
    try:
        write_whole(path, picture)
    except OSError as error:
        raise VircError(f"cannot write {path}: {clause(error)}") from error
    output.line(str(path))
