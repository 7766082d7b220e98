"""`virc systems cp`: a new system from an existing one."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import output
from virc_cli.console.options import SystemArgument, argument, option


def command(
    system: SystemArgument,
    to: Annotated[Path, argument("TO.yaml", "A new file.")],
    name: Annotated[str | None, option("NAME", "Name of the copy; default: that of the file.")] = None,
) -> None:
    """Copy a system's YAML under a name of its own.

    Comments are kept, and relative paths in it still lead to the same.
    """
    from virc.systems import files
    from virc.systems import registry as systems

    chosen = files.checked_name(name, to)
    files.write(to, files.copied(systems.get(system), to, chosen))
    output.note(f"{to} is the system {chosen}; virc systems check {to}")
