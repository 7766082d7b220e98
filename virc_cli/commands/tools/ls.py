"""`virc tools ls`: built-in tools, and custom ones that are found."""

import sys

from virc_cli.console import output
from virc_cli.console.options import Json, System, named_system
from virc_cli.console.tables import folded

FAILURE: dict[str, object] = {"tools": None, "faults": None}


def command(system: System = None, as_json: Json = False) -> None:
    """List built-in tools, and custom ones that are found.

    Custom tools are files in folders of VIRC_PATH, next to the YAML of --system, or in installed packages. Files are
    read for the list, and none is run. A warning names each file that cannot be used as a tool, and why.
    """
    from virc.solving.trying import tool_files

    found = tool_files.found(named_system(system))
    if as_json:
        fields = [
            {"name": each.name, "kind": each.kind, "about": each.about, "file": each.file and str(each.file)}
            for each in found.tools
        ]
        faults = [{"file": str(each.file), "reason": each.reason, "hint": each.hint} for each in found.faults]
        output.emit("virc.tools.ls/1", {"tools": fields, "faults": faults})
        return
    rows = [(each.name, each.kind, each.about or "-") for each in found.tools]
    output.lines(folded([("tool", "kind", "what it does"), *rows], sys.stdout))
    for fault in found.faults:
        output.warn(f"{fault.file}: {fault.reason}", fault.hint)
