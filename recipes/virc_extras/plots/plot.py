"""`virc runs plot`: pictures of the metrics."""

from pathlib import Path
from typing import Annotated

from virc.core.errors import UsageError
from virc_cli.console import output
from virc_cli.console.options import Json, RunNames, option

FAILURE: dict[str, object] = dict.fromkeys(("names", "plot"))


def command(
    names: RunNames,
    to: Annotated[Path | None, option("FILE.png", "Target file; default: plots/ in the first run.")] = None,
    as_json: Json = False,
) -> None:
    """Plot the metrics of runs as a PNG.

    Loss or reward with its terms, lengths and speed; several runs go into the same axes.
    """
    from virc.runs import run as runs
    from virc_extras.plots import pictures as plots

    if to and to.suffix.lower() != ".png":
        raise UsageError(f"pictures are PNG, and {to} does not end in .png", f"--to {to}.png")
    chosen = [runs.find(Path.cwd(), name) for name in dict.fromkeys(names)]
    path = to or chosen[0].folder / "plots" / ("metrics.png" if len(chosen) == 1 else "compared.png")
    picture = str(plots.write(chosen, path))
    output.result(as_json, "virc.runs.plot/1", {"names": [run.name for run in chosen], "plot": picture}, [picture])
