"""`virc tools ls`: built-in tools, and custom ones that are found."""

from virc_cli.console import output
from virc_cli.console.options import Json, System, named_system
from virc_cli.console.tables import folded

FAILURE: dict[str, object] = {"tools": None}


def command(system: System = None, as_json: Json = False) -> None:
    """List built-in tools, and custom ones that are found.

    Custom tools are files in folders of VIRC_PATH, next to the YAML of --system, or in installed packages. Files are
    read for the list, and none is run: virc tools check FILE says what is wrong with one that is not listed.
    """
    from virc.solving import tool_trial

    found = {each.name: each for each in reversed([*tool_trial.listed(named_system(system))])}  # the first of a name
    tools = [*reversed(found.values())]
    if as_json:
        fields = [
            {"name": each.name, "kind": each.kind, "about": each.about, "file": each.file and str(each.file)}
            for each in tools
        ]
        output.emit("virc.tools.ls/1", {"tools": fields})
        return
    rows = [(each.name, each.kind, each.about or "-") for each in tools]
    output.lines(folded([("tool", "kind", "what it does"), *rows], output.stdout()))
