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
    import msgspec

    from virc.tools import registry

    named = named_system(system)
    tools = dict[str, registry.ListedTool]()
    for each in registry.listed(named.file.parent if named else None):
        tools.setdefault(each.name, each)
    rows = [(each.name, each.kind, each.about or "-") for each in tools.values()]
    lines = folded([("tool", "kind", "what it does"), *rows], output.stdout())
    output.result(as_json, "virc.tools.ls/1", {"tools": msgspec.to_builtins([*tools.values()])}, lines)
