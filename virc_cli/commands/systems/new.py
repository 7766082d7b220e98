"""`virc systems new`: a system to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli import output


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the system is called.", show_default=False)
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="A new file; default: NAME.yaml.")
    ] = None,
) -> None:
    """Write a system's YAML to begin with.

    It has an example of every section and what that costs, and trains the embedded model.
    """
    from virc_recipes.systems import files

    file = to or Path(f"{name}.yaml")
    chosen = files.checked_name(name, file)
    files.write(file, files.starting(chosen))
    place = file if file.is_absolute() else f"./{file}"
    output.note(f"{file} is the system {chosen}; virc train {place} --stage instruct trains its first stage")
