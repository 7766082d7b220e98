"""`virc demo`: the reproduction in small."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console.options import Json, Seed

FAILURE: dict[str, object] = {
    "folder": None, "plot": None, "base": None, "full": None, "seed": None, "problems": None, "commonest": None,
    "stages": None, "gains": None, "steps": None, "page": None,
}  # fmt: skip


def command(
    to: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the demo; it goes on with what is there.")
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps of everything: minutes, and nothing is learnt.")
    ] = False,
    large: Annotated[
        bool, typer.Option("--large", help="48,000 problems, and a control without tools: hours.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="From nothing: first train the base too, which takes hours more.")
    ] = False,
    problems: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Problems held out that each stage is asked.")
    ] = None,
    seed: Seed = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every command, a script to run by hand; make nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train the small model through instruct, practice and rl, and show what each stage gains.

    Half an hour on two cores, every step a command of its own. Stopped, the same command goes on where it was. The
    figures are printed; curve.json and curve.png lie in the folder, beside the page of a problem.
    """
    import msgspec

    from virc.core.errors import UsageError
    from virc.demo import plan as demo
    from virc_cli import demonstrating

    if quick and large:
        raise UsageError("--quick and --large are two sizes", "leave one of them out")
    size = demo.QUICK if quick else demo.LARGE if large else demo.USUAL
    if problems is not None:
        size = msgspec.structs.replace(size, problems=problems)
    begun = demo.Demo(full=full, seed=seed, size=size)
    if dry_run:
        demonstrating.show(begun, to, as_json)
    else:
        demonstrating.run(begun, to, as_json)
