"""`virc tools check`: what is wrong with a tool."""

from typing import Annotated

from virc_cli.console import output
from virc_cli.console.options import Json, System, argument, named_system

FAILURE: dict[str, object] = {"tool": None, "called": None, "reason": None}


def command(
    tool: Annotated[str, argument("NAME|FILE", "A tool, or its file.")], system: System = None, as_json: Json = False
) -> None:
    """Load a tool, and carry out a call of it.

    The call is guessed from the tool's schema, and is about a blank picture. If none can be, that is a warning.

    Exit code 3: there is no such tool, its file is none, or it or its server fails. 4: it cannot be used
    on this machine, or its server cannot be reached.
    """
    from virc.core.module_files import warn_not_copied
    from virc_extras.authoring import tool_trial

    reason = tool_trial.check_tool(tool, named_system(system))
    warn_not_copied(output.warn)
    if as_json:
        fields = {"tool": tool, "called": reason is None, "reason": reason}
        output.emit("virc.tools.check/1", fields)
    elif reason is None:
        output.note(f"{tool}: no fault found; a call on a blank picture was carried out")
    if reason is not None:
        hint = f"virc tools try {tool} picture.png --arguments '{{...}}'"
        output.warn(f"{tool}: loaded, and no call was carried out: {reason}", hint)
