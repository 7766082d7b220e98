"""`virc tools allow`: let a remote tool's file send variables of the environment to its server."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import output
from virc_cli.console.confirm import agree
from virc_cli.console.options import Json, argument, flag, option

FAILURE: dict[str, object] = {"file": None, "digest": None, "to": None, "secrets": None}


def command(
    file: Annotated[Path, argument("FILE", "The YAML file of a remote tool.")],
    secret: Annotated[list[str] | None, option("NAME", "A variable that it may send; repeatable.")] = None,
    yes: Annotated[bool, flag("--yes", "Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Let a remote tool's file send environment variables.

    Each variable has to be named by --secret. The file is allowed as it is now: after a change it has to be allowed
    again. A file that names no variable needs no permission. If this user's settings are not at hand, as on other
    machines, VIRC_ALLOWED_TOOLS holds digests.
    """
    import msgspec

    from virc.core.files import expanded
    from virc.remote import permission, tool

    wanted, named = tool.read_tool(expanded(file)).permission, {*(secret or ())}
    if wanted.secrets and named.issuperset(wanted.secrets) and not yes:
        secrets = ", ".join(wanted.secrets)
        question, whether = f"let {file} send {secrets} to {wanted.to}?", f"{file} may send {secrets}"
        agree(question, whether, "--yes", "nothing was allowed")
    if wanted.secrets:
        permission.allow(wanted, named)
    if as_json:
        output.emit("virc.tools.allow/1", msgspec.to_builtins(wanted))
        return
    names = ", ".join(wanted.secrets)
    output.note(f"{file} may send {names} to {wanted.to}" if names else f"{file} sends no variable to {wanted.to}")
