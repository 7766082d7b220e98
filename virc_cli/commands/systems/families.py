"""`virc systems families`: the families of stock models, and what each type of their models can be used for."""

from virc_cli.console import output
from virc_cli.console.options import Json
from virc_cli.console.tables import table

FAILURE: dict[str, object] = {"families": None}


def command(as_json: Json = False) -> None:
    """Print families of stock models with their model types.

    `server`: a server is asked for the type; `here`: it runs in this process; `gguf`: as a GGUF file, too; `sft`:
    LLaMA-Factory trains it; `rl`: verl does. Tests have shown each with a random model of the real architecture, and
    servers by scripts; published weights were not tried.
    """
    from virc.families import registry as families

    found = families.discover().values()
    if as_json:
        listed = [
            {
                "name": family.name,
                "about": family.about,
                "coordinates": family.coordinates,
                "types": {kind: families.levels(family, kind) for kind in family.model_types},
            }
            for family in found
        ]
        output.emit("virc.systems.families/1", {"families": listed})
        return
    rows = []
    for family in found:
        for kind in family.model_types:
            reached = families.levels(family, kind)
            rows.append((family.name, kind, *(level if is_reached else "-" for level, is_reached in reached.items())))
    output.lines(table(rows))
