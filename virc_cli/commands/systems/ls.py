"""`virc systems ls`: every system that is found."""

from typing import TYPE_CHECKING, Any

from virc_cli import output
from virc_cli.options import Json

if TYPE_CHECKING:
    from virc_recipes.systems import System

FAILURE: dict[str, object] = {"systems": None}


def command(as_json: Json = False) -> None:
    """Print every system that is found.

    A line has its stages with their kinds, its models, and where it comes from. Found
    are those of this package and the *.yaml of the folders in VIRC_PATH.
    """
    from virc_cli.run_lines import table
    from virc_recipes import systems

    rows = [_row(system) for system in systems.discover().values()]
    if as_json:
        output.emit({"schema": "virc.systems.ls/1", "systems": rows, "error": None})
        return
    cells = [
        (
            row["name"],
            ", ".join(f"{name} ({kind})" for name, kind in row["stages"].items()) or "no stages",
            ", ".join(row["models"]) or "no models",
            row["from"],
        )
        for row in rows
    ]
    for line in table(cells):
        output.line(line)


def _row(system: "System") -> dict[str, Any]:
    from virc_recipes.systems import PACKAGE

    return {
        "name": system.name,
        "about": system.about,
        "stages": {name: stage.kind for name, stage in system.stages.items()},
        "models": list(system.models),
        "from": "package" if system.file.parent == PACKAGE else str(system.file),
    }
